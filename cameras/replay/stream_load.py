"""What watching costs: N cameras of a real RTSP server, watched by us, only decoded, and by the naive loop.

The server, and each of the three, has a process of its own; they run one after the other on the same streams. A
camera shows people all the time, or nothing but a still lobby with noise: which is which is drawn anew for each run.
"""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from fractions import Fraction
from functools import partial
from pathlib import Path
from typing import Any

import av
import numpy as np
from av.error import FFmpegError

from cameras.reach.place import Place
from cameras.settings import CameraSettings
from cameras.states import CameraState
from cameras.watching.counts import WatchCounts
from cameras.watching.findings import encode
from cameras.watching.preview import Offer
from cameras.watching.watch import Watch
from detection import Analyzer, Detector, Finding, ViolationFinding
from detection.evaluation.naive import watch_naively
from detection.spots import Spot

SIZES = {"720p": (1280, 720), "360p": (640, 360)}
RATE = 15
PER_SECOND = 5.0
KEY_EVERY_S = 1.0
FOUND_WITHIN_S = 60.0
WARM_UP_S = 4.0
PEOPLE_S = (1.5, 10.5)  # of the clip: somebody is in view from the first to the last


@dataclass(frozen=True)
class Load:
    """What is measured.

    Args:
        moving: the share of cameras that show people. reference: the model of the beginning, or None for ours by ONNX.
    """

    cameras: int
    size: str
    seconds: float
    moving: float = 1.0
    reference: Path | None = None
    seed: int = 0

    def clips(self) -> list[int]:
        """Which clip each camera plays: 0 shows people, 1 nobody."""
        order = random.Random(self.seed)  # noqa: S311 - no secret
        with_people = round(self.moving * self.cameras)
        return order.sample([0] * with_people + [1] * (self.cameras - with_people), self.cameras)


@dataclass(frozen=True)
class Cost:
    """What one contender took; CPU as a share of one core a camera."""

    cpu_share: float
    memory_mb: float
    analysed: int = 0
    dropped: int = 0
    latencies_s: list[float] = field(default_factory=list)
    stages_ms: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class LoadFigures:
    """One row of the table; the names are those of the JSON output. None where there is nothing to say."""

    cameras: int
    analysed_fps: float
    dropped: int
    cpu_share_per_camera: float
    floor_cpu_share: float
    naive_cpu_share: float | None
    latency_ms_p50: float | None
    latency_ms_p95: float | None
    mb_per_camera: float
    stages: dict[str, float]
    seed: int


def measure(load: Load, clip: Path, folder: Path) -> LoadFigures:
    """Run all three on the same streams. `clip` shows people from PEOPLE_S on, and nobody in its first frame."""
    people, nobody = folder / f"people-{load.size}.mp4", folder / f"nobody-{load.size}.mp4"
    if not people.exists():
        write_clips(clip, SIZES[load.size], people, nobody)
    with serving([people, nobody]) as port:
        floor, ours = (_run(name, load, port) for name in ("floor", "ours"))
        try:
            naive: float | None = round(_run("naive", load, port).cpu_share, 4)
        except RuntimeError:
            naive = None  # it cannot keep up with so many: not each of its cameras gave a picture
    late = np.asarray(ours.latencies_s) * 1000
    return LoadFigures(
        cameras=load.cameras,
        analysed_fps=round(ours.analysed / load.seconds / load.cameras, 2),
        dropped=ours.dropped,
        cpu_share_per_camera=round(ours.cpu_share, 4),
        floor_cpu_share=round(floor.cpu_share, 4),
        naive_cpu_share=naive,
        latency_ms_p50=round(float(np.percentile(late, 50)), 1) if len(late) else None,
        latency_ms_p95=round(float(np.percentile(late, 95)), 1) if len(late) else None,
        mb_per_camera=round(ours.memory_mb, 1),
        stages=ours.stages_ms,
        seed=load.seed,
    )


def write_clips(clip: Path, size: tuple[int, int], people: Path, nobody: Path) -> None:
    """Encode the clip's people, and its empty lobby with a sensor's noise, as cameras do."""
    width, height = size
    noise = np.random.default_rng(5)
    with av.open(str(clip)) as source:
        frames = [
            (float(frame.time or 0), frame.reformat(width, height, "bgr24").to_ndarray())
            for frame in source.decode(video=0)
        ]
    empty = frames[0][1].astype(np.int16)
    shown = [picture for at, picture in frames if PEOPLE_S[0] <= at < PEOPLE_S[1]]
    still = (np.clip(empty + noise.normal(0, 2.5, (height, width, 1)), 0, 255).astype(np.uint8) for _ in shown)
    encode_as_camera(people, shown, size)
    encode_as_camera(nobody, still, size)


def encode_as_camera(path: Path, pictures: Iterable[Any], size: tuple[int, int]) -> None:
    """H.264 at RATE, with a key frame every KEY_EVERY_S; pictures are BGR, of this size."""
    gop = round(KEY_EVERY_S * RATE)
    with av.open(str(path), "w") as target:
        stream = target.add_stream("libx264", rate=Fraction(RATE))
        (stream.width, stream.height), stream.pix_fmt = size, "yuv420p"
        stream.options = {"preset": "veryfast", "tune": "zerolatency", "crf": "26", "g": str(gop),
                          "x264-params": f"keyint={gop}:min-keyint={gop}:scenecut=0"}  # fmt: skip
        for picture in pictures:
            target.mux(stream.encode(av.VideoFrame.from_ndarray(np.asarray(picture, np.uint8), format="bgr24")))
        target.mux(stream.encode())


def copy_as_camera(clip: Path, to: Path, size: tuple[int, int]) -> Path:
    """A clip as a camera sends it, of this size."""
    with av.open(str(clip)) as source:
        encode_as_camera(to, (frame.reformat(*size, "bgr24").to_ndarray() for frame in source.decode(video=0)), size)
    return to


@contextmanager
def serving(clips: Sequence[Path]) -> Iterator[int]:
    """The port of an RTSP server that plays these clips."""
    command = [sys.executable, "-m", "cameras.replay.rtsp_server", *map(str, clips)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as server:  # noqa: S603
        if server.stdout is None or server.stdin is None:
            raise OSError("The server has no pipes.")
        try:
            yield int(server.stdout.readline())
        finally:
            server.stdin.close()
            server.terminate()


def _run(name: str, load: Load, port: int) -> Cost:
    """One contender, in a process of its own, so that its memory and its CPU are its own."""
    given = json.dumps([name, asdict(load), port], default=str)
    environment = os.environ | {"CAMERA_NETWORKS": "127.0.0.0/8"}
    begin = "import django; django.setup(); from cameras.replay.stream_load import main; main()"
    command = [sys.executable, "-c", begin, given]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)  # noqa: S603
    if done.returncode:
        raise RuntimeError(f"{name} ended: {done.stderr.strip()[-2000:]}")
    return Cost(**json.loads(done.stdout.splitlines()[-1]))


# -- in the process of one contender ----------------------------------------------------------------------------------


def contend(name: str, load: Load, port: int) -> Cost:
    addresses = [f"rtsp://127.0.0.1:{port}/{clip}/{number}" for number, clip in enumerate(load.clips())]
    if name == "ours":
        return _watch(load, addresses)
    one = _decode if name == "floor" else partial(watch_naively, per_second=PER_SECOND, reference=load.reference)
    stop, started = threading.Event(), [threading.Event() for _ in addresses]
    threads = [
        threading.Thread(target=one, args=(address, stop, begun), daemon=True)
        for address, begun in zip(addresses, started, strict=True)
    ]
    for thread in threads:
        thread.start()
    share = _measured(load, lambda: all(each.is_set() for each in started))
    stop.set()
    for thread in threads:
        thread.join(10)
    return Cost(share, 0.0)


def _measured(load: Load, is_running: Callable[[], bool], begin: Callable[[], None] = lambda: None) -> float:
    """The CPU of this process over the load's seconds, once all is running; a share of one core a camera."""
    until = time.monotonic() + FOUND_WITHIN_S
    while not is_running():
        if time.monotonic() > until:
            raise RuntimeError(f"Not all of {load.cameras} cameras gave a picture within {FOUND_WITHIN_S:.0f} s.")
        time.sleep(0.1)
    time.sleep(WARM_UP_S)
    begin()
    cpu, wall = time.process_time(), time.monotonic()
    time.sleep(load.seconds)
    return (time.process_time() - cpu) / (time.monotonic() - wall) / load.cameras


def _decode(address: str, stop: threading.Event, begun: threading.Event) -> None:
    """The floor: what cannot be avoided by whoever looks at each frame."""
    with av.open(address, options={"rtsp_transport": "tcp"}) as container:
        container.streams.video[0].codec_context.thread_count = 1
        for _frame in container.decode(video=0):
            begun.set()
            if stop.is_set():
                return


@dataclass
class _Tally:
    """An outlet that counts, and encodes what a worker would store."""

    camera_id: int
    latencies_s: list[float] = field(default_factory=list)

    def tell(self, finding: Finding) -> None:
        if isinstance(finding, ViolationFinding) and finding.seq == 1:
            self.latencies_s.append(time.time() - finding.opened_at)
        encode(self.camera_id, 1, finding)

    def tell_state(self, state: CameraState, detail: str) -> None: ...

    def tell_outage(self, began_at: float, reason: str) -> None: ...

    def tell_recovered(self, at: float) -> None: ...

    def tell_spot(self, spot: Spot) -> None: ...

    def login_wait_s(self) -> float:
        return 0.0

    def signed_in(self) -> None: ...

    def login_refused(self) -> None: ...

    def wants_previews(self) -> bool:
        return False

    def offer_preview(self, offer: Offer) -> None: ...


def _watch(load: Load, addresses: Sequence[str]) -> Cost:
    """Our watches, one thread a camera, as a stream worker runs them; nobody looks."""
    detector, counts, stop = Detector.load(), WatchCounts(), threading.Event()
    detector.detect(np.zeros((360, 640, 3), np.uint8))
    tallies = [_Tally(number) for number in range(len(addresses))]
    memory: list[float] = []
    threads: list[threading.Thread] = []

    def start(number: int) -> None:
        settings = CameraSettings(number, f"camera {number}", Place("rtsp", addresses[number]), analyses_per_second=5.0)
        watch = Watch(settings, 1, partial(Analyzer, detector), tallies[number], stop, counts)
        threads.append(threading.Thread(target=watch.run, daemon=True))
        threads[-1].start()

    def analysed() -> int:
        return sum(counts.so_far(number, "analysed") for number in range(len(addresses)))

    before: dict[str, Any] = {}

    def begin() -> None:
        memory.append(memory_mb())
        for tally in tallies:
            tally.latencies_s.clear()
        before.update(analysed=analysed(), late=_late(counts, len(addresses)), stages=counts.stage_sums())

    start(0)
    _wait(lambda: counts.so_far(0, "analysed") > 20)
    memory.append(memory_mb())
    for number in range(1, len(addresses)):
        start(number)
    share = _measured(load, lambda: all(counts.so_far(number, "analysed") for number in range(len(addresses))), begin)
    stages = {
        name: round((total - before["stages"][name][0]) / max(1, count - before["stages"][name][1]) * 1000, 2)
        for name, (total, count) in counts.stage_sums().items()
    }
    cost = Cost(
        share,
        (memory_mb() - memory[0]) / max(1, len(addresses) - 1) if len(addresses) > 1 else 0.0,
        analysed() - before["analysed"],
        _late(counts, len(addresses)) - before["late"],
        [each for tally in tallies for each in tally.latencies_s],
        stages,
    )
    stop.set()
    for thread in threads:
        thread.join(10)
    return cost


def _late(counts: WatchCounts, cameras: int) -> int:
    return sum(counts.so_far(number, what) for number in range(cameras) for what in ("late", "refused"))


def _wait(condition: Callable[[], bool]) -> None:
    until = time.monotonic() + FOUND_WITHIN_S
    while not condition() and time.monotonic() < until:
        time.sleep(0.05)


def memory_mb() -> float:
    return int(Path("/proc/self/status").read_text().split("VmRSS:")[1].split()[0]) / 1024


def main() -> None:
    name, given, port = json.loads(sys.argv[1])
    reference = Path(given["reference"]) if given["reference"] else None
    try:
        cost = contend(name, Load(**given | {"reference": reference}), port)
    except (FFmpegError, RuntimeError) as error:
        sys.exit(str(error))
    print(json.dumps(asdict(cost)))
