"""/metrics: what Prometheus gets, who gets it, and what it costs."""

from __future__ import annotations

import re
import shutil
import subprocess
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone
from prometheus_client.parser import text_string_to_metric_families

from cameras.models import Camera, CameraLease
from cameras.watching import leases
from cameras.watching.counts import WatchCounts
from cameras.watching.leases import WorkerState
from portal.figures.hours import count_new
from portal.models import Delivery, Figures
from portal.server import metrics
from tests.conftest import ROOT
from tests.worlds import World, passage_record, see, set_policy

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def scrape(settings: Any) -> Any:
    settings.METRICS_TOKEN = "t0ken"

    def ask() -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
        answer = Client().get("/metrics", headers={"Authorization": "Bearer t0ken"})
        assert answer.status_code == 200 and answer["Content-Type"].startswith("text/plain")
        return {
            (sample.name, tuple(sorted(sample.labels.items()))): sample.value
            for family in text_string_to_metric_families(answer.content.decode())
            for sample in family.samples
        }

    return ask


RULES = ROOT / "deploy" / "prometheus"
DOOR = (("camera", "Front door"), ("site", "Harbour House"))


def test_what_is_so_and_what_was_counted(world: World, redis: Any, scrape: Any) -> None:
    from portal.events.recording import record

    set_policy(world.here, mask_goal=90)
    CameraLease.objects.filter(camera=world.door).update(state="online")
    found = see(world.door)
    began = found.started_at.timestamp()
    times = {"started_at": began, "last_seen_at": began, "ended_at": began}
    record(passage_record(world.door, found.passage_id, 1, 2, label="mask", **times))
    count_new(timezone.now())
    Delivery.objects.create(site=world.here, event="portal", about="1", lane="email:1", channel="email")
    got = scrape()
    assert got["facemask_camera_up", DOOR] == 1
    assert got["facemask_camera_up", (("camera", "Hall"), ("site", "Maple Tower"))] == 0
    assert got["facemask_violations_total", (DOOR[0], ("label", "no_mask"), DOOR[1])] == 1
    assert got["facemask_passages_total", (DOOR[0], ("label", "mask"), DOOR[1])] == 1
    here = (("site", "Harbour House"),)
    assert (got["facemask_people_seen_today", here], got["facemask_people_masked_today", here]) == (1, 1)
    assert (got["facemask_compliance_goal_ratio", here], got["facemask_violations_to_review", here]) == (0.9, 1)
    assert got["facemask_deliveries_waiting", (("channel", "email"),)] == 1
    assert got["facemask_alert_latency_seconds_count", ()] == 1
    assert got["facemask_alert_latency_seconds_bucket", (("le", "+Inf"),)] == 1
    see(world.door)
    assert scrape()["facemask_violations_total", (DOOR[0], ("label", "no_mask"), DOOR[1])] == 2


def test_what_workers_count_is_told_by_camera_and_by_worker(world: World, redis: Any, scrape: Any) -> None:
    north = WatchCounts()
    for _ in range(3):
        north.frame(world.door.pk, "received")
    north.frame(world.door.pk, "analysed")
    north.reconnect(world.door.pk)
    north.stage("detect", 0.002)
    north.stage("detect", 0.3)
    north.push("north")
    leases.announce(WorkerState("north", "1", 10))
    leases.announce(WorkerState("south", "1", 10))  # has not pushed yet
    got = scrape()
    assert got["facemask_frames_total", (DOOR[0], DOOR[1], ("stage", "received"))] == 3
    assert got["facemask_frames_total", (DOOR[0], DOOR[1], ("stage", "analysed"))] == 1
    assert got["facemask_camera_reconnects_total", DOOR] == 1
    took = "facemask_stage_duration_seconds"
    stage = (("stage", "detect"), ("worker", "north"))
    assert got[f"{took}_bucket", (("le", "0.0025"), *stage)] == 1
    assert got[f"{took}_bucket", (("le", "+Inf"), *stage)] == got[f"{took}_count", stage] == 2
    assert got[f"{took}_sum", stage] == 0.302
    assert not any(("worker", "south") in labels for name, labels in got if name.startswith(took))


def test_what_reminders_achieved_today_is_told(world: World, redis: Any, scrape: Any) -> None:
    today = world.here.local(timezone.now()).date()
    Figures.objects.create(
        site=world.here, span="day", start=world.here.midnight(today), day=today, weekday=0, mask=5, no_mask=4,
        reminded=3, reminded_masked=2, unasked=1,
    )  # fmt: skip
    got, here = scrape(), (("site", "Harbour House"),)
    assert [got[f"facemask_people_{name}_today", here] for name in metrics.TODAY] == [9, 5, 3, 2, 1, 0]


def test_names_are_escaped_and_a_camera_that_is_gone_has_no_line(world: World, scrape: Any) -> None:
    Camera.objects.filter(pk=world.door.pk).update(name='a "b"\\ {c}\nd')
    Camera.objects.filter(pk=world.hall.pk).update(deleted_at=timezone.now())
    cameras = [dict(labels)["camera"] for name, labels in scrape() if name == "facemask_camera_up"]
    assert cameras == ['a "b"\\ {c}\nd']


@pytest.mark.parametrize("given", ["", "Bearer ", "Bearer wrong", "t0ken", "Basic t0ken", "Bearer t0ken "])
def test_a_wrong_token_gets_nothing(world: World, settings: Any, given: str) -> None:
    settings.METRICS_TOKEN = "t0ken"
    answer = Client().get("/metrics", headers={"Authorization": given})
    assert answer.status_code == 401 and b"facemask_" not in answer.content


def test_the_token_is_made_once_and_private(settings: Any, tmp_path: Any) -> None:
    settings.METRICS_TOKEN, settings.DATA_DIR = "", tmp_path
    made = metrics.token()
    assert len(made) > 30 and made == metrics.token()
    assert oct((tmp_path / "metrics-token.txt").stat().st_mode)[-3:] == "600"


def test_two_hundred_cameras_cost_as_many_queries_as_two(world: World, scrape: Any) -> None:
    from django.db import connection
    from django.test.utils import CaptureQueriesContext

    def cost() -> int:
        with CaptureQueriesContext(connection) as queries:
            scrape()
        return len(queries)

    few = cost()
    for number in range(198):
        camera = Camera.objects.create(site=world.here, name=f"{number}", address="x.mp4")
        CameraLease.objects.create(camera=camera)
    assert cost() == few <= 8


def test_without_redis_what_the_database_knows_is_told(
    world: World, scrape: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(*_given: object) -> None:
        raise ConnectionError

    monkeypatch.setattr(metrics, "connection", away)
    monkeypatch.setattr("cameras.watching.leases.living_workers", away)
    assert ("facemask_camera_up", DOOR) in scrape()


def test_the_documentation_lists_each_metric_in_the_same_words() -> None:
    listed = dict(
        re.findall(r"^\| `(facemask_\w+)` \| [^|]* \| (.+) \|$", (ROOT / "docs" / "metrics.md").read_text(), re.M)
    )
    assert listed == metrics.NAMES


@pytest.fixture
def promtool() -> str:
    found = shutil.which("promtool")
    if found is None:
        pytest.skip("needs promtool (Debian's package prometheus)")
    return found


def test_prometheus_own_tool_finds_nothing_to_complain_about(world: World, settings: Any, promtool: str) -> None:
    settings.METRICS_TOKEN = "t0ken"
    see(world.door)
    text = Client().get("/metrics", headers={"Authorization": "Bearer t0ken"}).content
    run = subprocess.run([promtool, "check", "metrics"], input=text, capture_output=True, check=False)
    assert run.returncode == 0 and run.stderr == b"", run.stderr


def test_alert_rules_fire_when_they_should_and_not_before(promtool: str) -> None:
    run = subprocess.run([promtool, "test", "rules", str(RULES / "alerts_test.yml")], capture_output=True, check=False)
    assert run.returncode == 0, run.stdout


def test_alert_rules_ask_for_metrics_that_there_are() -> None:
    named = set(re.findall(r"facemask_\w+", (RULES / "alerts.yml").read_text()))
    assert len(named) > 8 and named <= metrics.NAMES.keys()
