"""What may befall the line to a camera: each fault is said in plain words, the picture is back soon after it, and no
other camera loses an analysis over it. docs/promises.md has the seconds."""

from __future__ import annotations

import contextlib
import gc
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import av
import pytest

from cameras.errors import StreamError
from cameras.reach.addresses import RESOLVE_S
from cameras.reach.place import Place
from cameras.settings import CameraSettings
from cameras.sources import Opening, carrier, open_source
from cameras.sources.stream import Stream
from cameras.states import CameraState
from tests.cameras.rtsp_server import RtspCamera
from tests.cameras.sources.watched import settings_for
from tests.cameras.watching.notes import Notes
from tests.portal_process import wait_for

pytestmark = pytest.mark.stream
SOON_S = 10.0
SILENCE_S = 10.0  # until a camera that says nothing is given up; then SOON_S counts
HANGS_UP_AFTER_S = 1.5


class Line:
    """A TCP proxy before a camera, which can be told to fail. Threads, so that a test can hold them up."""

    def __init__(self, camera: RtspCamera) -> None:
        self.to = ("127.0.0.1", camera.port)
        self.fault = ""
        self._open: set[socket.socket] = set()
        self._listener = self._listen(0)
        self.port = self._listener.getsockname()[1]

    def _listen(self, port: int) -> socket.socket:
        listener = socket.socket()
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(("127.0.0.1", port))
        listener.listen()
        threading.Thread(target=self._accept, args=(listener,), daemon=True).start()
        return listener

    def begin(self, fault: str) -> None:
        self.fault = fault
        if fault == "refuses":
            self._listener.shutdown(socket.SHUT_RDWR)
            self._listener.close()
        if fault != "freezes":
            self.hang_up()

    def end(self) -> None:
        if self.fault == "refuses":
            self._listener = self._listen(self.port)
        self.fault = ""

    def hang_up(self) -> None:
        for each in list(self._open):
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        self._listener.close()
        self.hang_up()

    def _accept(self, listener: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while True:
                near, _address = listener.accept()
                threading.Thread(target=self._carry, args=(near,), daemon=True).start()

    def _carry(self, near: socket.socket) -> None:
        with contextlib.suppress(OSError), near, socket.create_connection(self.to) as far:
            self._open |= {near, far}
            if self.fault == "hangs up":
                timer = threading.Timer(HANGS_UP_AFTER_S, lambda: near.shutdown(socket.SHUT_RDWR))
                timer.daemon = True
                timer.start()
            back = threading.Thread(target=self._pump, args=(far, near), daemon=True)
            back.start()
            self._pump(near, far)
            back.join()
            self._open -= {near, far}

    def _pump(self, source: socket.socket, target: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(1 << 16):
                while self.fault in {"says nothing", "freezes"}:
                    time.sleep(0.05)
                target.sendall(data)
            target.shutdown(socket.SHUT_RDWR)


SLOW_RESOLVER_S = 30.0
FAULTS = {  # what is said of each, and until when it must be known
    "refuses": ("nothing listens", SOON_S),
    "says nothing": ("does not answer", SOON_S),
    "freezes": ("no picture came", SILENCE_S + SOON_S),
    "hangs up": ("ended the stream", SOON_S),
    "has no name": ("There is no", SOON_S),
    "has a silent resolver": ("could not be looked up in time", SOON_S),
}


@pytest.fixture
def resolver(monkeypatch: pytest.MonkeyPatch) -> Iterator[set[str]]:
    """What the machine's resolver does with the cameras' names: all are known until their fault is in this set."""
    real, failing, end = socket.getaddrinfo, set[str](), threading.Event()

    def ask(host: Any, *args: Any, **kwargs: Any) -> Any:
        fault = str(host).removesuffix(".example").replace("-", " ")
        if fault not in FAULTS:
            return real(host, *args, **kwargs)
        if fault in failing and "silent" in fault:
            end.wait(30)
        if fault in failing:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return real("127.0.0.1", *args, **kwargs)

    monkeypatch.setattr(socket, "getaddrinfo", ask)
    yield failing
    end.set()


@dataclass
class Befallen:
    """One camera's watch, and when it was first seen to be what."""

    fault: str
    line: Line
    notes: Notes
    found_s: float = 0.0
    said: str = ""
    back_s: float = 0.0

    @property
    def is_online(self) -> bool:
        return bool(self.notes.states) and self.notes.states[-1][0] is CameraState.ONLINE

    def is_found(self, since: float) -> bool:
        offline = [detail for state, detail in self.notes.states if state is CameraState.OFFLINE]
        if offline and not self.found_s:
            self.found_s = time.monotonic() - since
        self.said = next((detail for detail in offline if FAULTS[self.fault][0] in detail), "")
        return bool(self.said)

    def is_back(self, since: float) -> bool:
        if self.is_online and not self.back_s:
            self.back_s = time.monotonic() - since
        return bool(self.back_s)


def test_faults_of_the_line_are_said_and_over_soon_after_them(
    clip: Path, watches: Callable[..., Notes], resolver: set[str]
) -> None:
    with ExitStack() as stack:
        camera, neighbour = stack.enter_context(RtspCamera(clip)), stack.enter_context(RtspCamera(clip))
        all_: list[Befallen] = []
        for fault in FAULTS:
            line = stack.enter_context(contextlib.closing(Line(camera)))
            address = f"rtsp://{fault.replace(' ', '-')}.example:{line.port}/live"
            settings = CameraSettings(len(all_) + 1, "Door", Place("rtsp", address, transport="tcp"))
            all_.append(Befallen(fault, line, watches(settings)))
        other = Befallen("", Line(neighbour), watches(settings_for(neighbour)))
        stack.enter_context(contextlib.closing(other.line))
        wait_for(lambda: all(each.is_online for each in [*all_, other]), 20, "the first picture of each")
        began, seen = time.monotonic(), len(other.notes.offers)
        resolver |= {fault for fault in FAULTS if fault.startswith("has")}
        for each in all_:
            each.line.begin(each.fault)
        wait_for(
            lambda: [each.is_found(began) for each in all_].count(False) == 0, SILENCE_S + 2 * SOON_S, "all reasons"
        )
        resolver.clear()
        for each in all_:
            each.line.end()
        ended = time.monotonic()
        within_s = SOON_S + RESOLVE_S  # what is being asked when the fault ends is waited for
        wait_for(lambda: False not in [each.is_back(ended) for each in all_], within_s, "all pictures")
        for each in all_:
            print(f"{each.fault}: found after {each.found_s:.1f} s, {each.said!r}; back {each.back_s:.1f} s after it")
            assert each.found_s < FAULTS[each.fault][1], each.fault
        gaps = [later.captured_at - before.captured_at for before, later in pairwise(other.notes.offers[seen:])]
        assert len(gaps) > 10 and max(gaps) < 1.5, "the neighbour is watched all the time (once a second at rest)"


def test_a_name_that_resolves_after_half_a_minute_is_watched_then(
    clip: Path, watches: Callable[..., Notes], monkeypatch: pytest.MonkeyPatch
) -> None:
    real = socket.getaddrinfo

    def slow(host: Any, *args: Any, **kwargs: Any) -> Any:
        if host != "slow.example":
            return real(host, *args, **kwargs)
        time.sleep(SLOW_RESOLVER_S)  # as getaddrinfo does while no server answers
        return real("127.0.0.1", *args, **kwargs)

    monkeypatch.setattr(socket, "getaddrinfo", slow)
    with RtspCamera(clip) as camera:
        began = time.monotonic()
        place = Place("rtsp", f"rtsp://slow.example:{camera.port}/live", transport="tcp")
        notes = watches(CameraSettings(1, "Door", place))

        def is_said() -> bool:
            return any("could not be looked up in time" in detail for _state, detail in notes.states)

        wait_for(is_said, SOON_S, "the reason")
        found_s = time.monotonic() - began
        wait_for(lambda: bool(notes.offers), SLOW_RESOLVER_S + SOON_S - found_s, "the first picture")
        print(
            f"slow resolver: found after {found_s:.1f} s; back {time.monotonic() - began - SLOW_RESOLVER_S:.1f} s after"
        )


def test_of_a_connection_that_ended_nothing_is_left(clip: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its pictures go with it, and not at the next full collection of garbage, which may be hours away."""
    monkeypatch.setattr(carrier, "LEAST_LIMIT_S", 1.0)
    monkeypatch.setattr(carrier, "GAPS", 0)

    def left() -> int:
        return sum(type(each) in {av.VideoFrame, Stream} for each in gc.get_objects())

    def once(fault: str) -> None:
        with RtspCamera(clip) as camera, contextlib.closing(Line(camera)) as line:
            place = Place("rtsp", f"rtsp://127.0.0.1:{line.port}/live", transport="tcp")
            with contextlib.closing(open_source(Opening(place))) as source:
                for number, frame in enumerate(source.frames(threading.Event())):
                    assert frame.image_bgr().size
                    if number == 5:
                        line.begin(fault)

    gc.collect()
    before = left()
    gc.disable()
    try:
        for fault in ("freezes", "hangs up", "refuses"):
            with pytest.raises(StreamError):
                once(fault)
            assert left() == before, fault
    finally:
        gc.enable()
