"""Software that nobody here wrote: GStreamer's and VLC's RTSP servers, motion's and FFmpeg's streams over HTTP.

    apt install ffmpeg motion vlc-bin vlc-plugin-base python3-gi gir1.2-gst-rtsp-server-1.0 gstreamer1.0-plugins-base \
        gstreamer1.0-plugins-good gstreamer1.0-plugins-bad gstreamer1.0-plugins-ugly
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from cameras.errors import CameraError, StreamError
from cameras.reach.place import Place
from cameras.sources import Opening, open_source
from tests.cameras.footage import lobby
from tests.cameras.rtsp_server import RtspCamera
from tests.portal_process import free_port, wait_for

pytestmark = pytest.mark.slow

SYSTEM_PYTHON = "/usr/bin/python3"
GSTREAMER = Path(__file__).resolve().parent.parent / "gstreamer_rtsp.py"
PICTURES = "videotestsrc is-live=true ! video/x-raw,width=320,height=240,framerate=10/1 ! "
H264 = PICTURES + "x264enc tune=zerolatency key-int-max=20 ! rtph264pay name={} pt=96"
H265 = PICTURES + "x265enc tune=zerolatency key-int-max=20 ! rtph265pay name={} pt=96"
VP8 = PICTURES + "vp8enc deadline=1 keyframe-max-dist=20 ! rtpvp8pay name={} pt=96"
AUDIO = "audiotestsrc is-live=true ! alawenc ! rtppcmapay name=pay0 pt=8 "


@pytest.fixture(scope="module")
def clip() -> Iterator[Path]:
    """A clip that everybody may read: VLC does not run as root."""
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o755)  # noqa: S103
        path = lobby(Path(folder) / "lobby.mp4")
        path.chmod(0o644)
        yield path


@contextlib.contextmanager
def running(*command: str, **more: Any) -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, start_new_session=True, **more
    )
    try:
        yield process
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait(5)
        if process.stdout is not None:
            process.stdout.close()


def needs(*programs: str) -> None:
    for program in programs:
        if shutil.which(program) is None:
            pytest.skip(f"{program} is not installed")


def listens(port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 0.5):
        return True
    return False


def plays(place: Place, wanted: int = 20, within_s: float = 25.0) -> tuple[int, int]:
    """Reads pictures; returns how many came, and how many were broken."""
    stop = threading.Event()
    timer = threading.Timer(within_s, stop.set)
    timer.start()
    seen = broken = 0
    try:
        with contextlib.closing(open_source(Opening(place, stop))) as source:
            for frame in source.frames(stop):
                assert abs(time.time() - frame.captured_at) < 3
                seen, broken = seen + 1, broken + frame.is_broken
                if seen == wanted:
                    break
    finally:
        timer.cancel()
    assert frame.image_bgr().ndim == 3
    return seen, broken


@pytest.mark.parametrize("transport", ["tcp", "udp"])
@pytest.mark.parametrize(
    ("name", "pipeline"),
    [
        ("H.264", H264.format("pay0")),
        ("H.265", H265.format("pay0")),
        ("VP8", VP8.format("pay0")),
        ("audio first", AUDIO + H264.format("pay1")),
    ],
)
@pytest.mark.parametrize("login", ["", "admin:p@ss/w%rd"])
def test_gstreamers_server_plays(name: str, pipeline: str, transport: str, login: str) -> None:
    known = [SYSTEM_PYTHON, "-c", "import gi; gi.require_version('GstRtspServer', '1.0')"]
    if subprocess.run(known, check=False, capture_output=True).returncode:
        pytest.skip("GStreamer's RTSP server is not installed")
    with running(SYSTEM_PYTHON, str(GSTREAMER), transport, login, pipeline) as server:
        assert server.stdout is not None
        port = int(server.stdout.readline())
        user, _, password = login.partition(":")
        seen, broken = plays(Place("rtsp", f"rtsp://127.0.0.1:{port}/live", user, password, "auto"))
        assert seen == 20 and broken == 0


def test_vlc_answers_461_to_tcp_and_plays_over_udp_to_its_end(clip: Path) -> None:
    needs("cvlc")
    port = free_port()
    sout = f"#rtp{{sdp=rtsp://127.0.0.1:{port}/live}}"
    as_nobody: dict[str, Any] = {"user": "nobody", "env": {"HOME": str(clip.parent), "PATH": os.environ["PATH"]}}
    with running(
        "cvlc", "-q", str(clip), f"--sout={sout}", "--play-and-exit", **(as_nobody if not os.geteuid() else {})
    ):
        wait_for(lambda: listens(port), 20, "VLC's server")
        address = f"rtsp://127.0.0.1:{port}/live"
        with pytest.raises(StreamError, match="Automatic"):
            open_source(Opening(Place("rtsp", address, transport="tcp")))
        seen, _ = plays(Place("rtsp", address, transport="auto"))
        assert seen == 20
        with contextlib.suppress(CameraError):
            source = open_source(Opening(Place("rtsp", address, transport="auto")))
            began = time.monotonic()
            with contextlib.closing(source), pytest.raises(CameraError):
                for _frame in source.frames(threading.Event()):
                    assert time.monotonic() - began < 60, "the clip's end is a fault, not silence"


def test_motions_mjpeg_plays(clip: Path, tmp_path: Path) -> None:
    needs("motion")
    port = free_port()
    with RtspCamera(clip) as camera:
        config = tmp_path / "motion.conf"
        settings = {
            "netcam_url": camera.address, "stream_port": port, "stream_localhost": "on", "stream_maxrate": 10,
            "webcontrol_port": 0, "width": 640, "height": 352, "picture_output": "off", "movie_output": "off",
            "target_dir": tmp_path, "log_file": tmp_path / "log",
        }  # fmt: skip
        config.write_text("".join(f"{name} {value}\n" for name, value in settings.items()))
        with running("motion", "-n", "-c", str(config)) as server:
            assert plays_at_last(f"http://127.0.0.1:{port}/", server) == 20


@pytest.mark.parametrize(("format_", "options"), [("mpjpeg", ["-q:v", "3"]), ("mpegts", ["-c", "copy"])])
def test_ffmpegs_stream_over_http_plays(clip: Path, format_: str, options: list[str]) -> None:
    needs("ffmpeg")
    address = f"http://127.0.0.1:{free_port()}/video"
    command = ["ffmpeg", "-loglevel", "quiet", "-re", "-stream_loop", "-1", "-i", str(clip), "-an", *options]
    with running(*command, "-f", format_, "-listen", "1", address) as server:
        assert plays_at_last(address, server) == 20


def plays_at_last(address: str, server: subprocess.Popen[bytes]) -> int:
    """Servers take a few seconds until they serve, and some take one viewer only: tried again, as a watch does."""
    until = time.monotonic() + 30
    while time.monotonic() < until:
        with contextlib.suppress(StreamError):
            return plays(Place("http", address))[0]
        assert server.poll() is None, "it ended"
    return 0
