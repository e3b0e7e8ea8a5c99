"""Grafana's dashboards without Grafana: what it would ask of Prometheus and PostgreSQL, and both of them, real."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator, Mapping, Sequence, Set
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from tests.conftest import ROOT
from tests.portal_process import free_port, wait_for

FOLDER = ROOT / "deploy" / "grafana" / "dashboards"
PROMETHEUS, DATABASE = "mask-portal-prometheus", "mask-portal-database"
Values = Mapping[str, Sequence[str]]


def dashboards() -> dict[str, dict[str, Any]]:
    return {path.stem: json.loads(path.read_text()) for path in sorted(FOLDER.glob("*.json"))}


@dataclass(frozen=True)
class Query:
    """One query of a panel, a variable or an annotation."""

    where: str
    source: str
    text: str


def queries(name: str, dashboard: Mapping[str, Any]) -> list[Query]:
    """All of a dashboard. label_values() is Grafana's own, and becomes the series that it lists the labels of."""
    found = []
    for panel in dashboard["panels"]:
        for target in panel["targets"]:
            text = target.get("expr") or target["rawSql"]
            found.append(Query(f"{name}: {panel['title']}, {target['refId']}", target["datasource"]["uid"], text))
    for variable in dashboard["templating"]["list"]:
        if variable["type"] == "query":
            text = variable["query"] if isinstance(variable["query"], str) else variable["query"]["query"]
            text = re.sub(r"label_values\((.+), \w+\)", r"\1", text)
            found.append(Query(f"{name}: variable {variable['name']}", variable["datasource"]["uid"], text))
    for each in dashboard["annotations"]["list"]:
        found.append(Query(f"{name}: {each['name']}", each["datasource"]["uid"], each["target"]["rawSql"]))
    return found


def asked(source: str, chosen: Values) -> dict[str, str]:
    """Every query to this source, with these values of the variables, by where it stands."""
    every = [query for name, board in dashboards().items() for query in queries(name, board)]
    return {query.where: interpolate(query.text, chosen) for query in every if query.source == source}


def may_be_empty(boards: Mapping[str, Any]) -> set[str]:
    """The queries of panels which say of themselves that they may be empty, and of what is drawn over them."""
    said = {
        f"{name}: {panel['title']}, {target['refId']}"
        for name, board in boards.items()
        for panel in board["panels"]
        for target in panel["targets"]
        if "Empty" in panel.get("description", "")
    }
    return said | {f"{name}: {each['name']}" for name, board in boards.items() for each in board["annotations"]["list"]}


def interpolate(text: str, values: Values) -> str:
    """As Grafana writes variables and macros into a query (its "advanced variable format options")."""

    def variable(match: re.Match[str]) -> str:
        chosen, form = values[match[1]], match[2]
        if form == "regex":
            escaped = [re.sub(r"[\\^$*+?.()|[\]{}/]", lambda each: "\\" + each[0], value) for value in chosen]
            return escaped[0] if len(escaped) == 1 else f"({'|'.join(escaped)})"
        assert form == "sqlstring", f"{match[0]} has a form that is not known here"
        return ",".join("'" + value.replace("'", "''") + "'" for value in chosen)

    since, until = (f"'{moment:%Y-%m-%dT%H:%M:%SZ}'" for moment in span())
    text = re.sub(r"\$\{(\w+):(\w+)\}", variable, text)
    text = re.sub(r"\$__timeFilter\((\w+)\)", rf"\1 BETWEEN {since} AND {until}", text)
    text = text.replace("$__timeFrom()", since).replace("$__timeTo()", until).replace("$__rate_interval", "30s")
    assert not re.search(r"\$[{_]", text), text
    return text


def span() -> tuple[datetime, datetime]:
    now = datetime.now(UTC)
    return now - timedelta(days=28), now + timedelta(minutes=1)


# -- Prometheus -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Prometheus:
    """One that runs."""

    url: str

    def ask(self, expression: str) -> list[Any]:
        """The series that an expression gives now; raises AssertionError for one that it does not understand."""
        body = urllib.parse.urlencode({"query": expression}).encode()
        try:
            with urllib.request.urlopen(f"{self.url}/api/v1/query", body, timeout=10) as answer:
                found: list[Any] = json.load(answer)["data"]["result"]
        except urllib.error.HTTPError as error:
            raise AssertionError(f"{expression}: {error.read().decode()}") from error
        return found


@contextmanager
def prometheus(target: str, token: str, folder: Path) -> Iterator[Prometheus]:
    """With the configuration of deploy/prometheus, but for this portal, each half second, and with this token."""
    config = (ROOT / "deploy" / "prometheus" / "prometheus.yml").read_text()
    shutil.copy(ROOT / "deploy" / "prometheus" / "alerts.yml", folder)
    (folder / "token").write_text(token)
    for ours, theirs in (
        ("/run/secrets/metrics_token", str(folder / "token")),
        ("portal:8000", target),
        ("15s", "500ms"),
    ):
        assert ours in config, ours
        config = config.replace(ours, theirs)
    (folder / "prometheus.yml").write_text(config)
    address = f"127.0.0.1:{free_port()}"
    command = ["prometheus", f"--config.file={folder}/prometheus.yml", f"--storage.tsdb.path={folder}/data"]
    with (folder / "prometheus.log").open("wb") as log:
        process = subprocess.Popen([*command, f"--web.listen-address={address}"], stdout=log, stderr=log)
    try:
        found = Prometheus(f"http://{address}")
        wait_for(lambda: is_ready(found), 20, "Prometheus")
        yield found
    finally:
        process.terminate()
        process.wait(20)


def is_ready(found: Prometheus) -> bool:
    try:
        with urllib.request.urlopen(f"{found.url}/-/ready", timeout=5):
            return True
    except OSError:
        return False


def unanswered(
    expressions: Mapping[str, str], server: Prometheus, within_s: float, enough: Set[str] = frozenset()
) -> list[str]:
    """Which of them gave no series until the deadline, by their names; those in `enough` are not waited for."""
    left, deadline = dict(expressions), time.monotonic() + within_s
    while left.keys() - enough and time.monotonic() < deadline:
        left = {where: expression for where, expression in left.items() if not server.ask(expression)}
        time.sleep(0.2)
    return sorted(left)
