"""Ten minutes of faults: `manage.py soak` finds nothing lost, doubled or left open, and nothing that grows."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys

import pytest

from portal.server.soak import CLIPS, Shown, Truth
from tests.conftest import ROOT

AN_HOUR = 60.0  # MB, or files, of all processes of a kind, over half an hour and more
AN_HOUR_SOON = 300.0  # over a few minutes: a process that was killed just before grows by ten, or opens two files


def test_who_shows_when_in_a_clip_that_is_played_again_and_again() -> None:
    truth = Truth(CLIPS / "maple-tower.mp4", 10.0, (Shown(1.0, 3.0), Shown(8.0, 9.5)), ())
    assert list(truth.between(truth.people, 100.0, 102.0, 121.5)) == [
        (108.0, 109.5), (111.0, 113.0), (118.0, 119.5)
    ]  # fmt: skip


@pytest.mark.slow
def test_ten_minutes_of_faults_lose_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    seed = int(os.environ.get("SOAK_SEED", str(random.randrange(2**31))))
    minutes = os.environ.get("SOAK_MINUTES", "10")
    command = [sys.executable, "manage.py", "soak", "--minutes", minutes, "--seed", str(seed), "--json"]
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    with capsys.disabled():
        print(f"\nseed {seed}: {run.stdout.strip()}")
    figures = json.loads(run.stdout)
    assert (figures["lost"], figures["doubled"], figures["left_open"], figures["not_over"]) == (0, 0, 0, 0), run.stderr
    assert figures["checked"] > 0 and figures["kills"] > 0
    most = AN_HOUR if float(minutes) >= 30 else AN_HOUR_SOON
    for kind, slopes in figures["slopes"].items():
        assert slopes["mb"] < most and slopes["files"] < most, (kind, slopes)
