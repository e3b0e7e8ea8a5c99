from __future__ import annotations

import pytest

from portal.server import recording_rate


@pytest.mark.slow
def test_findings_become_rows_faster_than_one_worker_can_make_them() -> None:
    found = recording_rate.measure(people=20)
    assert found.findings == 20 * 9 and found.a_second > 20, found
