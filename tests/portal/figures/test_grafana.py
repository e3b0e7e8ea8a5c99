"""Grafana's dashboards: of a form that Grafana knows, and each of their questions answered by the real thing."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest
from django.db import connection
from django.urls import resolve
from django.utils import timezone

from cameras.models import Camera, CameraLease, Outage
from cameras.watching import leases, seen
from cameras.watching.counts import WatchCounts
from cameras.watching.leases import WorkerState
from portal.events import notices
from portal.events.recording import record
from portal.figures.hours import count_new
from portal.figures.reports import report
from portal.models import Delivery, Reminder
from tests.conftest import ROOT
from tests.grafana import DATABASE, PROMETHEUS, Query, asked, dashboards, interpolate, prometheus, queries, unanswered
from tests.worlds import World, passage_record, see

ODD = 'O\'Hara "HQ" \\ (1+1) [x] $y'
ALERTS = ROOT / "deploy" / "prometheus" / "alerts.yml"
CHOSEN = {"site": [ODD, "Maple Tower"], "camera": ["Front door", "Hall"]}
BOARDS = dashboards()
QUERIES = [each for name, board in BOARDS.items() for each in queries(name, board)]
TYPES = """import type { AnnotationQuery, Dashboard, DataQuery } from "@grafana/schema";
type Plain<T> = T extends string ? `${T}` : T extends number | boolean | null | undefined ? T
  : T extends (infer E)[] ? Plain<E>[] : T extends object ? { [K in keyof T]: Plain<T[K]> } : T;
type Sql = DataQuery & { rawSql: string; rawQuery: boolean; editorMode: string; format: string };
type Annotations = { list: (Omit<Plain<AnnotationQuery>, "target"> & { target: Plain<Sql> })[] };
type Board = Omit<Plain<Dashboard>, "annotations"> & { annotations: Annotations };
"""


# -- form -------------------------------------------------------------------------------------------------------------


@pytest.fixture
def tsc() -> str:
    found = ROOT / "node_modules" / ".bin" / "tsc"
    if not found.exists():
        pytest.skip("needs npm's packages")
    return str(found)


def type_check(tsc: str, folder: Path, boards: dict[str, Any]) -> subprocess.CompletedProcess[str]:
    (folder / "node_modules").symlink_to(ROOT / "node_modules")
    lines = (f"export const {name} = {json.dumps(board)} satisfies Board;\n" for name, board in boards.items())
    (folder / "boards.ts").write_text(TYPES + "".join(lines))
    options = ["--noEmit", "--strict", "--skipLibCheck", "--module", "nodenext", "--target", "es2022"]
    command = [tsc, *options, "--moduleResolution", "nodenext", "boards.ts"]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)


def test_dashboards_are_what_grafanas_types_say(tsc: str, tmp_path: Path) -> None:
    run = type_check(tsc, tmp_path, BOARDS)
    assert run.returncode == 0, run.stdout


def test_the_types_find_what_is_wrong(tsc: str, tmp_path: Path) -> None:
    wrong = json.loads(json.dumps(BOARDS["site"]))
    wrong["panels"][0]["gridPos"] = "nonsense"
    run = type_check(tsc, tmp_path, {"site": wrong})
    assert run.returncode != 0 and "w: number" in run.stdout


@pytest.mark.parametrize("name", BOARDS)
def test_each_panel_has_a_source_a_unit_and_a_place_of_its_own(name: str) -> None:
    board, taken, titles = BOARDS[name], set[tuple[int, int]](), list[str]()
    assert board["uid"] == f"mask-portal-{name}" and board["title"].startswith("Masks: ")
    for panel in board["panels"]:
        title, place = panel["title"], panel["gridPos"]
        assert title and panel["fieldConfig"]["defaults"]["unit"], title
        assert panel["datasource"]["uid"] in {PROMETHEUS, DATABASE}, title
        assert {target["datasource"]["uid"] for target in panel["targets"]} == {panel["datasource"]["uid"]}, title
        squares = {(place["x"] + x, place["y"] + y) for x in range(place["w"]) for y in range(place["h"])}
        assert not squares & taken and max(x for x, _y in squares) < 24, title
        taken |= squares
        titles.append(title)
    ids = [panel["id"] for panel in board["panels"]]
    assert len(set(ids)) == len(ids) and len(set(titles)) == len(titles)


@pytest.mark.parametrize("name", BOARDS)
def test_each_variable_is_used_and_each_that_is_used_is_there(name: str) -> None:
    board = BOARDS[name]
    text = json.dumps({key: value for key, value in board.items() if key != "templating"})
    inner = json.dumps([variable["query"] for variable in board["templating"]["list"]])
    made = {variable["name"] for variable in board["templating"]["list"]}
    assert made == set(re.findall(r"\$\{(\w+)(?::\w+)?\}", text)) - {"__data"}
    assert set(re.findall(r"\$\{(\w+)(?::\w+)?\}", inner)) <= made


def test_links_lead_to_pages_that_there_are() -> None:
    links = set(re.findall(r'"\$\{portal\}(/[^"]*)"', json.dumps(BOARDS)))
    assert len(links) == 4
    for link in links:
        path = link.partition("?")[0].replace("${__data.fields.id}", "0198c2a0-0000-7000-8000-000000000000")
        resolve(path.replace("${__data.fields.camera_id}", "7"))


def test_a_share_never_stands_without_its_number_of_people() -> None:
    shares = [
        each
        for board in BOARDS.values()
        for each in board["panels"]
        if re.search(r"with a mask|without a mask|masked after|put a mask on", each["title"], re.I)
        and each["fieldConfig"]["defaults"]["unit"] == "percentunit"
    ]
    assert len(shares) == 6
    for panel in shares:
        assert "eople" in panel["description"], panel["title"]


def test_the_provisioned_sources_are_those_of_the_panels() -> None:
    text = (ROOT / "deploy/grafana/provisioning/datasources/mask-portal.yaml").read_text()
    assert re.findall(r"uid: (\S+)\n    type: (\S+)", text) == [
        (PROMETHEUS, "prometheus"),
        (DATABASE, "grafana-postgresql-datasource"),
    ]


# -- answers ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def busy(world: World, redis: Any) -> World:
    """Something of everything: people, violations, reminders, an outage, a camera that is down, messages, a notice."""
    world.here.name = ODD
    world.here.save()
    now = time.time()
    for camera, hours in ((world.door, 3), (world.hall, 5)):
        Camera.objects.filter(pk=camera.pk).update(created_at=timezone.now() - timedelta(days=2))
        for number in range(4):
            found = see(camera, now - 3600 * (hours + number))
            ended = found.started_at.timestamp() + 20
            times = {"started_at": ended - 20, "last_seen_at": ended, "ended_at": ended}
            label = "mask" if number % 2 else "no_mask"
            record(passage_record(camera, found.passage_id, 1, 2, label=label, **times))
            if number:
                times_said = {"sent_at": found.started_at, "played_at": found.started_at}
                first = Reminder.Step.FIRST
                Reminder.objects.create(camera=camera, site=camera.site, violation=found, step=first, **times_said)
        see(camera)  # just now, by workers that count
    CameraLease.objects.filter(camera=world.door).update(state="online")
    CameraLease.objects.filter(camera=world.hall).update(state="offline", state_since=timezone.now())
    began = timezone.now() - timedelta(hours=4)
    Outage.objects.create(camera=world.hall, began_at=began, ended_at=began + timedelta(minutes=9), reason="It's off")
    Outage.objects.create(camera=world.door, began_at=began, ended_at=began + timedelta(minutes=9))
    Delivery.objects.create(site=world.here, event="portal", about="1", lane="email:1", channel="email")
    Delivery.objects.create(
        site=world.here, event="portal", about="2", lane="email:1", channel="email", state=Delivery.State.SENT
    )
    count_new()
    return world


def work(counts: WatchCounts, world: World) -> None:
    """As a worker does from one scrape to the next."""
    leases.announce(WorkerState("north", "1", 10, (), (world.door.pk,)))
    for camera in (world.door, world.hall):
        for what in ("received", "analysed", "late", "refused"):
            counts.frame(camera.pk, what)
        counts.reconnect(camera.pk)
        for stage in ("decode", "detect", "follow"):
            counts.stage(stage, 0.004)
        see(camera)
    counts.push("north")
    seen.note([(world.door.pk, 5.0, time.time())])


@pytest.fixture
def server(tmp_path: Path, live_server: Any, settings: Any) -> Iterator[Any]:
    if shutil.which("prometheus") is None:
        pytest.skip("needs prometheus (Debian's package)")
    settings.METRICS_TOKEN = "t0ken"
    with prometheus(live_server.url.removeprefix("http://"), "t0ken", tmp_path) as found:
        yield found


@pytest.mark.django_db(transaction=True)
def test_prometheus_answers_each_panel_and_each_rule(busy: World, server: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(notices, "current_notices", lambda: {"mail": ""})
    expressions = asked(PROMETHEUS, CHOSEN)
    assert len(expressions) > 30
    counts, left, deadline = WatchCounts(), list(expressions), time.monotonic() + 40
    while left and time.monotonic() < deadline:  # counters must grow from one scrape to the next
        work(counts, busy)
        left = unanswered({where: expressions[where] for where in left}, server, 1)
    assert left == []
    assert {
        row["metric"]["site"] for row in server.ask(interpolate("facemask_camera_up{site=~`${site:regex}`}", CHOSEN))
    } == {
        ODD,
        "Maple Tower",
    }
    rules = re.findall(
        r"expr: (?:>-\n)?((?:.+\n)(?:          .+\n)*)", (ROOT / "deploy/prometheus/alerts.yml").read_text()
    )
    assert len(rules) == 8
    for rule in rules:
        server.ask(" ".join(rule.split()))  # it is understood; whether it fires is tested by promtool


@pytest.fixture
def reader(db: None) -> Iterator[Any]:
    """A connection as the user that Grafana gets."""
    if connection.vendor != "postgresql":
        pytest.skip("views are PostgreSQL's")
    with connection.cursor() as cursor:
        cursor.execute("DROP ROLE IF EXISTS grafana_reader")
        cursor.execute("CREATE ROLE grafana_reader LOGIN IN ROLE mask_portal_reports")
    given = connection.get_connection_params() | {"user": "grafana_reader"}
    given = {name: given[name] for name in ("dbname", "user", "host", "port")}
    with psycopg.connect(**given, autocommit=True) as found:
        yield found
    with connection.cursor() as cursor:
        cursor.execute("DROP ROLE grafana_reader")


@pytest.mark.django_db(transaction=True)
def test_postgresql_answers_each_panel(busy: World, reader: Any) -> None:
    questions = [each for each in QUERIES if each.source == DATABASE]
    assert len(questions) > 20
    for each in questions:
        columns, rows = ask(reader, each)
        assert rows, each.where
        if "AS time" in each.text:
            assert columns[0] == "time" and all(row[0].tzinfo is not None for row in rows), each.where


def ask(reader: Any, query: Query) -> tuple[list[str], list[Any]]:
    cursor = reader.execute(interpolate(query.text, CHOSEN).encode())
    return [column.name for column in cursor.description], cursor.fetchall()


@pytest.mark.django_db(transaction=True)
def test_the_views_say_what_the_portals_own_page_says(busy: World, reader: Any) -> None:
    day = busy.here.local(timezone.now()).date()
    ours = report([busy.here], day - timedelta(days=27), day)
    (sites,) = (each for each in QUERIES if each.where == "overview: Sites, A")
    columns, rows = ask(reader, sites)
    row = dict(zip(columns, next(row for row in rows if row[1] == ODD), strict=True))
    low, high = ours.total.bounds or (0, 0)
    assert row["People"] == ours.total.seen > 0 and row["Without"] == ours.total.bare
    assert round(100 * row["With a mask"], 1) == ours.total.percent
    assert (round(100 * row["At least"], 1), round(100 * row["At most"], 1)) == (low, high)
    assert round(100 * row["Watched"], 1) == ours.total.coverage


@pytest.mark.django_db(transaction=True)
def test_the_reader_can_read_the_views_and_nothing_else(busy: World, reader: Any) -> None:
    found = {
        row[0]
        for row in reader.execute(
            "SELECT table_name FROM information_schema.tables WHERE table_schema = 'public'"
            " AND has_table_privilege(table_schema || '.' || table_name, 'SELECT')"
        )
    }
    listed = set(re.findall(r"^\| `(report_\w+)` \|", (ROOT / "docs/grafana.md").read_text(), re.M))
    assert found == listed and len(found) == 6
    for statement in (
        "SELECT email FROM portal_user",
        "SELECT snapshot FROM portal_violation",
        "SELECT sealed_password FROM cameras_camera",
        "SELECT * FROM django_session",
        "UPDATE cameras_site SET name = 'x'",
        "CREATE TABLE mine (id int)",
    ):
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            reader.execute(statement)


@pytest.mark.django_db(transaction=True)
def test_no_view_has_a_column_of_a_person_or_a_picture(reader: Any) -> None:
    columns = {
        row[0]
        for row in reader.execute("SELECT column_name FROM information_schema.columns WHERE table_name LIKE 'report_%'")
    }
    assert len(columns) > 30
    assert not {name for name in columns if re.search(r"mail|user|person|snapshot|note|review|address|box", name)} - {
        "to_review"
    }
