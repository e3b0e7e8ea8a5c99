"""Faults at random moments for minutes or hours, and what is missing afterwards: `manage.py soak`.

A portal of its own is started in a temporary folder, with several stream workers. Its cameras play the demo's clips
by RTSP, all by one clock, so that an undisturbed replay of the clips says who shows where and when. Processes are
killed, asked to end and suspended, the cameras too, and the database is locked. Whoever showed while their camera was
not disturbed must be one passage, and one violation if they were bare: none is missing, none is there twice, and in
the end nobody is left open. In the last part none of the portal's own processes is killed, and it is measured whether
anything in them grows.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import re
import signal
import socket
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import httpx
from redis import Redis
from websockets.exceptions import WebSocketException
from websockets.sync.client import connect

from cameras.redis import LAST_PICTURES_KEY, Errors
from cameras.replay.replay import replay
from cameras.replay.rtsp_server import CLOCK, RecordedVideo
from cameras.replay.stream_load import copy_as_camera
from cameras.watching.spool import read_records
from portal.server.run import stream_worker
from portal.server.slow_peers import ROOT, portal

CLIPS = ROOT / "portal" / "demo" / "clips"
FAULT_EVERY_S = (4.0, 14.0)  # after the one before is over
SUSPENDED_S = 12.0
LOCKED_S = 8.0
AFTER_ITS_REIGN = "while its worker held the camera"  # portal/events/recording.py
OVER_WITHIN_S = 60.0
AGAIN_AFTER_S = 2.0  # a worker that is not the portal's own is started again
SAMPLE_EVERY_S = 5.0
CALM_PART = 0.4  # of the time, at the end: no process of the portal is killed
WARM_S = (
    60.0,
    300.0,
)  # of that, a third is not measured, at least and at most: workers that were just begun still grow
SIZE = (640, 360)
SHOWN = ("harbour-house.mp4", "maple-tower.mp4")
ENDING = 6  # of the kinds of faults
ABOUT_S = 1.5  # as exactly as it is known when somebody begins to show
SETTLE_S = 3.0  # after a fault is over, or a camera was taken over, for whoever is in view then
MOVES_WITHIN_S = 3.0  # a camera that another worker is to watch, as that has less to do
LOGIN = ("soak@example.org", "a-Long-pass-4u")

# Both run with Django in the portal's DATA_DIR.
FILL = """
import sys
import django
django.setup()
from cameras.models import Camera, Site
from portal.models import User
User.objects.create_superuser("{email}", "{password}", name="Soak")
site = Site.objects.create(name="Soaked", time_zone="UTC")
for number, address in enumerate(sys.argv[1:]):
    print(Camera.objects.create(site=site, name=f"Door {{number}}", kind="rtsp", address=address).pk)
"""
ROWS = """
import json
import sys
import django
django.setup()
from cameras.models import Camera, Reign
from portal.models import Passage, Violation
if "pause" in sys.argv:
    Camera.objects.update(paused=True)
def rows(model):
    found = model.objects.values_list("camera_id", "started_at", "ended_at", "label")
    return [[camera, began.timestamp(), ended is None, label] for camera, began, ended, label in found]
reigns = [[camera, at.timestamp()] for camera, at in Reign.objects.values_list("camera_id", "taken_at")]
print(json.dumps([rows(Passage), rows(Violation), reigns]))
"""


@dataclass(frozen=True)
class SoakFigures:
    """What was done, what was recorded, and what is wrong with it.

    Args:
        reconnects: of one camera each, forced by its end or silence.
        moves: of a camera from a worker to another, or to the same one after it was started again.
        checked: people who showed while their camera was not disturbed, by the clips' undisturbed replay.
        lost, doubled: of those and of their violations. A record that was refused is lost, but for those of a worker
            that stood still and went on while another watched its camera: `late`.
        left_open: passages and violations, after all cameras were paused.
        not_over: faults after which some camera was not seen again within OVER_WITHIN_S.
        slowest_s: the longest that it took.
        slopes: per hour, in the last part, of all processes of a kind: MB of memory, threads, sockets, files.
    """

    minutes: float
    seed: int
    faults: Mapping[str, int]
    kills: int
    reconnects: int
    dashboards: int
    moves: int
    passages: int
    violations: int
    checked: int
    lost: int
    doubled: int
    late: int
    left_open: int
    not_over: int
    slowest_s: float
    slopes: Mapping[str, Mapping[str, float]] = field(default_factory=dict)

    @property
    def is_clean(self) -> bool:
        return not (self.lost or self.doubled or self.left_open or self.not_over)


@dataclass(frozen=True)
class Shown:
    """Somebody in a clip, in seconds from its start."""

    start: float
    end: float


@dataclass(frozen=True)
class Truth:
    """Who shows in a clip that is played in a loop, and who of them is bare."""

    path: Path
    period_s: float
    people: tuple[Shown, ...]
    bare: tuple[Shown, ...]

    @classmethod
    def of(cls, path: Path) -> Truth:
        """By an undisturbed replay."""
        found = replay(path)
        people = tuple(Shown(each.started_at, each.last_seen_at) for each in found.passages.values())
        bare = tuple(Shown(each.started_at, each.last_seen_at) for each in found.violations.values())
        return cls(path, RecordedVideo(path).duration / CLOCK, people, bare)

    def between(self, who: Sequence[Shown], began: float, start: float, end: float) -> Iterator[tuple[float, float]]:
        """When these people show from `start` to `end`, if the clip has been played in a loop since `began`."""
        for turn in range(int((start - began) // self.period_s), int((end - began) // self.period_s) + 1):
            for shown in who:
                at = began + turn * self.period_s
                if start <= at + shown.start and at + shown.end <= end:
                    yield at + shown.start, at + shown.end


class CameraServer:
    """The cameras: one process that can be killed, suspended, and started again as if it had never been away."""

    def __init__(self, clips: Sequence[Path]) -> None:
        self.began, self.began_wall = time.monotonic(), time.time()
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = int(probe.getsockname()[1])
        self._clips = clips
        self.start()

    def start(self) -> None:
        command = [sys.executable, "-m", "cameras.replay.rtsp_server", "--port", str(self.port)]
        command += ["--began", str(self.began), *map(str, self._clips)]
        self.process = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE)  # noqa: S603
        next(iter(self.process.stdout or ()))  # its port: from now on it plays

    def kill(self) -> None:
        self.process.kill()
        self.process.communicate()


class Workers:
    """More stream workers than the portal's own, as they are started on other machines."""

    def __init__(self, count: int, environment: Mapping[str, str], capacity: int) -> None:
        self._environment, self._capacity = dict(environment), capacity
        self.names = [f"soak-{number}" for number in range(count)]
        self._running: dict[str, subprocess.Popen[bytes]] = {}
        self._ended_at: dict[str, float] = {}

    def look_after(self) -> None:
        """Start those that are not running, a moment after they ended."""
        for name in self.names:
            process = self._running.get(name)
            if process is not None and process.poll() is None:
                continue
            ended_at = self._ended_at.setdefault(name, time.monotonic()) if process is not None else float("-inf")
            if time.monotonic() - ended_at > AGAIN_AFTER_S:
                self._ended_at.pop(name, None)
                self._start(name)

    def _start(self, name: str) -> None:
        command = [sys.executable, "-m", *stream_worker(name, self._capacity)]
        environment = self._environment | {"WORKER_NAME": name, "WORKER_CAPACITY": str(self._capacity)}
        self._running[name] = subprocess.Popen(  # noqa: S603 - what they say is in their logs; ours is one JSON object
            command, cwd=ROOT, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )

    def end(self) -> None:
        for process in self._running.values():
            process.kill()
            process.wait()


# -- processes --------------------------------------------------------------------------------------------------------

KINDS = {"web": "uvicorn", "streams": "streams@", "jobs": "jobs@", "beat": "redbeat", "valkey": "valkey-server"}


def processes(mark: str) -> dict[int, str]:
    """The portal's processes with this mark in their environment, and their kinds."""
    found = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            with contextlib.suppress(OSError):
                if mark.encode() in (entry / "environ").read_bytes():
                    line = (entry / "cmdline").read_bytes().decode(errors="replace")
                    kind = next((kind for kind, word in KINDS.items() if word in line), "")
                    if kind:
                        found[int(entry.name)] = kind
    return found


class Sampler:
    """Memory, threads, sockets and files of the portal's processes, by kind."""

    UNITS = ("mb", "threads", "sockets", "files")

    def __init__(self, mark: str) -> None:
        self._mark = mark
        self._seen: dict[str, list[tuple[float, list[float]]]] = defaultdict(list)
        self._last = float("-inf")

    def sample(self) -> None:
        now = time.monotonic()
        if now - self._last < SAMPLE_EVERY_S:
            return
        self._last = now
        sums: dict[str, list[float]] = {}
        for pid, kind in processes(self._mark).items():
            with contextlib.suppress(OSError, IndexError, ValueError):
                before = sums.get(kind, [0.0] * len(self.UNITS))
                sums[kind] = [old + new for old, new in zip(before, measured(pid), strict=True)]
        for kind, values in sums.items():
            self._seen[kind].append((now, values))

    def forget(self) -> None:
        """What is measured from now on counts."""
        self._seen.clear()

    def slopes(self) -> dict[str, dict[str, float]]:
        """Per hour, of a line through what was measured once all was warm; nothing of less than a minute."""
        found: dict[str, dict[str, float]] = {}
        for kind, samples in sorted(self._seen.items()):
            least_s, most_s = WARM_S
            warm_s = max(least_s, min(most_s, (samples[-1][0] - samples[0][0]) / 3))
            warm = [sample for sample in samples if sample[0] - samples[0][0] >= warm_s]
            if len(warm) < least_s / SAMPLE_EVERY_S:
                continue
            times = [at for at, _values in warm]
            lines = [
                statistics.linear_regression(times, column) for column in zip(*(row for _at, row in warm), strict=True)
            ]
            found[kind] = {unit: round(3600 * line.slope, 2) for unit, line in zip(self.UNITS, lines, strict=True)}
        return found


def measured(pid: int) -> tuple[float, ...]:
    status = Path(f"/proc/{pid}/status").read_text()
    files = [os.readlink(path) for path in Path(f"/proc/{pid}/fd").iterdir()]
    memory, threads = (int(status.split(name)[1].split()[0]) for name in ("VmRSS:", "Threads:"))
    return memory / 1024, threads, sum(name.startswith("socket:") for name in files), len(files)


# -- the run ----------------------------------------------------------------------------------------------------------


class Soak:
    """One run. `say` gets a line for each fault."""

    def __init__(self, minutes: float, cameras: int, workers: int, seed: int, say: Callable[[str], object]) -> None:
        self._minutes, self._workers, self._seed, self._say = minutes, workers, seed, say
        self._random = random.Random(seed)  # noqa: S311
        self._count = cameras
        self._faults: Counter[str] = Counter()
        self._disturbed: dict[int, list[tuple[float, float]]] = defaultdict(list)  # by camera
        self._took: list[float] = []
        self._not_over = self._reconnects = self._dashboards = 0

    def run(self, dashboards: int) -> SoakFigures:
        """Raises OSError if the portal or its cameras do not come up."""
        mark = f"SOAK={self._seed}-{os.getpid()}"
        with tempfile.TemporaryDirectory(prefix="masks-soak-") as folder, contextlib.ExitStack() as stack:
            self._folder = Path(folder)
            clips = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="masks-clips-")))
            truths = [Truth.of(copy_as_camera(CLIPS / name, clips / name, SIZE)) for name in SHOWN]
            self._truths = [truths[number % len(truths)] for number in range(self._count)]
            given = dict([mark.split("=")]) | {"DATA_DIR": folder, "CAMERA_NETWORKS": "127.0.0.0/8"}
            self._environment = os.environ | given | {
                "DEMO": "0", "REDIS_URL": "", "DATABASE_URL": "", "DJANGO_SETTINGS_MODULE": "portal.settings",
            }  # fmt: skip
            self._mark = mark
            self._port, _web = stack.enter_context(portal(**given))
            self._redis = Redis.from_url((self._folder / "valkey-url").read_text().strip(), socket_timeout=2)
            self._cameras = CameraServer([truth.path for truth in self._truths])
            stack.callback(self._cameras.kill)
            more = Workers(self._workers - 1, self._environment, len(self._truths))
            stack.callback(more.end)
            self._more, self._sampler = more, Sampler(mark)
            addresses = [f"rtsp://127.0.0.1:{self._cameras.port}/{n}" for n in range(len(self._truths))]
            email, password = LOGIN
            self._ids = [
                int(pk) for pk in self._django(FILL.format(email=email, password=password), *addresses).split()
            ]
            if not self._wait_for_pictures(time.time()):
                raise OSError("Not all cameras are seen within a minute.")
            stop = threading.Event()
            visits = threading.Thread(target=self._visit, args=(dashboards, stop), daemon=True)
            visits.start()
            self._began = began = time.time()
            self._go_on(began + (1 - CALM_PART) * self._minutes * 60, spares_processes=False)
            self._sampler.forget()
            self._go_on(began + self._minutes * 60, spares_processes=True)
            ended = time.time()
            stop.set()
            visits.join(10)
            return self._figures(began, ended)

    def _go_on(self, until: float, spares_processes: bool) -> None:
        while time.time() < until:
            self._rest(self._random.uniform(*FAULT_EVERY_S))
            if time.time() >= until:
                return
            self._fault(spares_processes)

    def _rest(self, seconds: float) -> None:
        """Meanwhile, workers that ended are started again, and all processes are measured."""
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            self._more.look_after()
            self._sampler.sample()
            time.sleep(0.2)

    # -- faults -------------------------------------------------------------------------------------------------------

    def _fault(self, spares_processes: bool) -> None:
        """One of them, and what follows until it is over. Those that end a process of the portal come first."""
        kinds: dict[str, tuple[Callable[[], None], bool]] = {
            "a worker is killed": (lambda: self._signal("streams", signal.SIGKILL), True),
            "a worker is asked to end": (lambda: self._signal("streams", signal.SIGTERM), True),
            "web is killed": (lambda: self._signal("web", signal.SIGKILL), False),
            "jobs are killed": (lambda: self._signal("jobs", signal.SIGKILL), False),
            "beat is killed": (lambda: self._signal("beat", signal.SIGKILL), False),
            "Valkey is killed": (lambda: self._signal("valkey", signal.SIGKILL), False),
            "a worker stands still": (lambda: self._suspend("streams"), True),
            "the cameras are killed": (self._kill_cameras, True),
            "the cameras stand still": (self._suspend_cameras, True),
            "Valkey stands still": (lambda: self._suspend("valkey"), False),
            "the database is locked": (self._lock_database, False),
        }  # fmt: skip
        name = self._random.choice(list(kinds)[ENDING if spares_processes else 0 :])
        do, disturbs = kinds[name]
        at = time.time()
        do()
        is_over = self._wait_for_pictures(time.time())
        took = time.time() - at
        if disturbs:
            for camera in self._ids:
                self._disturbed[camera].append((at, time.time() + SETTLE_S))
        self._faults[name] += 1
        self._not_over += not is_over
        self._took.append(took)
        end = "all cameras are seen again" if is_over else "NOT OVER"
        self._say(f"{at - self._began:.1f} s, {name}: {end} after {took:.1f} s")

    def _one(self, kind: str) -> int | None:
        found = sorted(pid for pid, each in processes(self._mark).items() if each == kind)
        return self._random.choice(found) if found else None

    def _signal(self, kind: str, number: signal.Signals) -> None:
        if (pid := self._one(kind)) is not None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)

    def _suspend(self, kind: str) -> None:
        pid = self._one(kind)
        if pid is None:
            return
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGSTOP)
            self._rest(SUSPENDED_S)
            os.kill(pid, signal.SIGCONT)

    def _kill_cameras(self) -> None:
        self._cameras.kill()
        self._cameras.start()
        self._reconnects += len(self._ids)

    def _suspend_cameras(self) -> None:
        self._cameras.process.send_signal(signal.SIGSTOP)
        self._rest(SUSPENDED_S)
        self._cameras.process.send_signal(signal.SIGCONT)
        self._reconnects += len(self._ids)

    def _lock_database(self) -> None:
        (path,) = self._folder.glob("*.sqlite3")
        with contextlib.closing(sqlite3.connect(path, timeout=10, isolation_level=None)) as database:
            database.execute("BEGIN IMMEDIATE")
            self._rest(LOCKED_S)
            database.execute("ROLLBACK")

    def _wait_for_pictures(self, after: float) -> bool:
        """Until a picture of each camera was looked at that came after this moment."""
        until = time.monotonic() + OVER_WITHIN_S
        while time.monotonic() < until:
            with contextlib.suppress(*Errors):
                values = cast("dict[bytes, bytes]", self._redis.hgetall(LAST_PICTURES_KEY))
                seen = {int(camera): float(value.split()[0]) for camera, value in values.items()}
                if all(seen.get(camera, 0.0) > after for camera in self._ids):
                    return True
            self._rest(0.2)
        return False

    # -- dashboards ---------------------------------------------------------------------------------------------------

    def _visit(self, count: int, stop: threading.Event) -> None:
        """Open the dashboard's socket, hear its first message, and close it: as often as asked, evenly."""
        pause_s = self._minutes * 60 / max(1, count)
        cookie = ""
        while self._dashboards < count and not stop.wait(pause_s * 0.9):
            try:
                cookie = cookie or self._sign_in()
                address = f"ws://127.0.0.1:{self._port}/ws/live/"
                headers = {"Cookie": cookie, "Origin": f"http://127.0.0.1:{self._port}"}
                with connect(address, additional_headers=headers, open_timeout=10, close_timeout=5) as opened:
                    opened.recv(timeout=10)
                self._dashboards += 1
            except (OSError, TimeoutError, WebSocketException, httpx.HTTPError):
                continue  # the web process was killed

    def _sign_in(self) -> str:
        with httpx.Client(base_url=f"http://127.0.0.1:{self._port}", timeout=20) as browser:
            page = browser.get("/sign-in/").text
            token = re.findall(r'name="csrfmiddlewaretoken" value="(\w+)"', page)[0]
            form = {"username": LOGIN[0], "password": LOGIN[1], "csrfmiddlewaretoken": token}
            browser.post("/sign-in/", data=form, headers={"Referer": f"http://127.0.0.1:{self._port}/sign-in/"})
            return "; ".join(f"{name}={value}" for name, value in browser.cookies.items())

    # -- what is left -------------------------------------------------------------------------------------------------

    def _django(self, code: str, *arguments: str) -> str:
        command = [sys.executable, "-c", code, *arguments]
        run = subprocess.run(  # noqa: S603
            command, cwd=ROOT, env=self._environment, check=True, capture_output=True, text=True
        )
        return run.stdout

    def _rows(self, *arguments: str) -> tuple[list[Any], list[Any], list[Any]]:
        """Passages, violations, and when each camera went to another worker."""
        passages, violations, reigns = json.loads(self._django(ROWS, *arguments))
        return passages, violations, reigns

    def _figures(self, began: float, ended: float) -> SoakFigures:
        self._wait_for_pictures(time.time())
        passages, violations, reigns = self._rows("pause")
        until = time.monotonic() + OVER_WITHIN_S
        while any(is_open for rows in (passages, violations) for _c, _at, is_open, _l in rows):
            if time.monotonic() > until:
                break
            self._rest(1)
            passages, violations, _reigns = self._rows()
        for camera, taken_at in reigns:
            self._disturbed[camera].append((taken_at - MOVES_WITHIN_S, taken_at + SETTLE_S))
        checked = lost = doubled = 0
        for camera, truth in zip(self._ids, self._truths, strict=True):
            for who, rows in ((truth.people, passages), (truth.bare, violations)):
                starts = [at for pk, at, _open, _label in rows if pk == camera]
                for start, end in truth.between(who, self._cameras.began_wall, began + SETTLE_S, ended - SETTLE_S):
                    if any(start < over and end > at for at, over in self._disturbed[camera]):
                        continue
                    count = sum(abs(at - start) <= ABOUT_S for at in starts)
                    checked += 1
                    lost += count == 0
                    doubled += count > 1
                    if count != 1:
                        near = [round(at - start, 1) for at in starts if abs(at - start) < 10]
                        self._say(f"camera {camera}, {start - began:.1f} to {end - began:.1f} s: {count}; near: {near}")
        late = 0
        for path in (self._folder / "refused").glob("*.log"):
            with path.open("rb") as file:
                for record, _position in read_records(file):
                    if AFTER_ITS_REIGN in str(record.body["refused"]):
                        late += 1
                        continue
                    lost += 1
                    self._say(f"a {record.kind} of camera {record.camera_id} was refused: {record.body['refused']}")
        return SoakFigures(
            minutes=round((ended - began) / 60, 1),
            seed=self._seed,
            faults=dict(sorted(self._faults.items())),
            kills=sum(count for name, count in self._faults.items() if name.endswith("killed")),
            reconnects=self._reconnects,
            dashboards=self._dashboards,
            moves=len(reigns) - len(self._ids),
            passages=len(passages),
            violations=len(violations),
            checked=checked,
            lost=lost,
            doubled=doubled,
            late=late,
            left_open=sum(is_open for rows in (passages, violations) for _c, _at, is_open, _l in rows),
            not_over=self._not_over,
            slowest_s=round(max(self._took, default=0.0), 1),
            slopes=self._sampler.slopes(),
        )
