"""What watching costs is measured on a real server; which cameras show people is drawn anew."""

from __future__ import annotations

import json
from io import StringIO
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from cameras.replay.stream_load import Load


def test_the_share_of_cameras_that_show_people_is_drawn_by_the_seed() -> None:
    drawn = [Load(20, "360p", 5, moving=0.2, seed=seed).clips() for seed in (1, 1, 2)]
    assert [each.count(0) for each in drawn] == [4, 4, 4]
    assert drawn[0] == drawn[1] != drawn[2]
    assert Load(3, "360p", 5, moving=0.0).clips() == [1, 1, 1]


@pytest.mark.parametrize("given", [{"cameras": 0}, {"seconds": 0.0}, {"moving": 1.5}])
def test_what_cannot_be_measured_is_said(given: dict[str, Any]) -> None:
    with pytest.raises(CommandError, match="--cameras is 1 or more"):
        call_command("bench", "streams", **given)


@pytest.mark.stream
def test_two_cameras_are_measured() -> None:
    out = StringIO()
    call_command("bench", "streams", cameras=2, size="360p", seconds=6.0, moving=1.0, json=True, stdout=out)
    row = json.loads(out.getvalue())
    assert row["cameras"] == 2 and row["dropped"] == 0 and 4.5 < row["analysed_fps"] <= 5.5
    assert 0 < row["floor_cpu_share"] < row["cpu_share_per_camera"] and row["naive_cpu_share"] > 0
    assert row["latency_ms_p95"] is not None and row["mb_per_camera"] > 0
    assert set(row["stages"]) == {"decode", "detect", "follow"}
