"""Clips played in a loop by RTSP, as cameras play what they see: for measuring, and under the tests' cameras.

    python -m cameras.replay.rtsp_server lobby.mp4 empty.mp4

prints its port, and plays the n-th clip at rtsp://127.0.0.1:PORT/n until its standard input ends. H.264 or H.265, RTP
interleaved with the answers (RFC 2326, section 10.12; 3550; 6184; 7798), without a login. With --port and --began (on
the monotonic clock), a server that was started again plays on as if it had never been away.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import contextlib
import secrets
import struct
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import av
from av.bitstream import BitStreamFilterContext

MOST_PAYLOAD = 1400
CLOCK = 90_000


@dataclass(frozen=True)
class AccessUnit:
    """One access unit, with times in 1/90000 s."""

    dts: int
    pts: int
    is_key: bool
    nals: list[bytes]


class RecordedVideo:
    """The first video stream of a file, in decode order."""

    def __init__(self, path: Path) -> None:
        with av.open(str(path)) as container:
            stream = container.streams.video[0]
            self.hevc = stream.codec_context.name == "hevc"
            if stream.time_base is None:
                raise ValueError(f"{path} has no times.")
            scale = float(stream.time_base * CLOCK)
            name = "hevc_mp4toannexb" if self.hevc else "h264_mp4toannexb"
            annexb = BitStreamFilterContext(name, stream)
            rate = float(stream.average_rate or 25)
            packets = [done for packet in container.demux(stream) if packet.size for done in annexb.filter(packet)]
        stamps = [(p.dts, p.pts, p) for p in packets if p.dts is not None and p.pts is not None]
        base = stamps[0][0]
        self.units = [
            AccessUnit(round((dts - base) * scale), round((pts - base) * scale), p.is_keyframe, split_nals(bytes(p)))
            for dts, pts, p in stamps
        ]
        self.duration = self.units[-1].dts + round(CLOCK / rate)
        wanted = (32, 33, 34) if self.hevc else (7, 8)
        self.parameters = [next(nal for nal in self.units[0].nals if self.type_of(nal) == kind) for kind in wanted]

    def type_of(self, nal: bytes) -> int:
        return (nal[0] >> 1) & 63 if self.hevc else nal[0] & 31

    def payloads(self, nals: list[bytes]) -> list[bytes]:
        """RTP payloads: single NAL units, or fragments (FU-A, FU) of those that are too long."""
        found = []
        for nal in nals:
            if len(nal) <= MOST_PAYLOAD:
                found.append(nal)
                continue
            kind = self.type_of(nal)
            head = bytes(((nal[0] & 0x81) | 49 << 1, nal[1])) if self.hevc else bytes(((nal[0] & 0xE0) | 28,))
            skip, step = len(head), MOST_PAYLOAD - len(head) - 1
            for start in range(skip, len(nal), step):
                mark = kind | (0x80 if start == skip else 0) | (0x40 if start + step >= len(nal) else 0)
                found.append(head + bytes((mark,)) + nal[start : start + step])
        return found

    def sdp(self) -> str:
        sets = [base64.b64encode(each).decode() for each in self.parameters]
        if self.hevc:
            format_ = f"sprop-vps={sets[0]};sprop-sps={sets[1]};sprop-pps={sets[2]}"
        else:
            profile = self.parameters[0][1:4].hex()
            format_ = f"packetization-mode=1;profile-level-id={profile};sprop-parameter-sets={','.join(sets)}"
        name = "H265" if self.hevc else "H264"
        lines = ["v=0", "o=- 1 1 IN IP4 127.0.0.1", "s=camera", "c=IN IP4 0.0.0.0", "t=0 0", "a=control:*",
                 "m=video 0 RTP/AVP 96", f"a=rtpmap:96 {name}/{CLOCK}", f"a=fmtp:96 {format_}", "a=control:track1", "",
                 ]  # fmt: skip
        return "\r\n".join(lines)


def split_nals(annexb: bytes) -> list[bytes]:
    return [nal for nal in (part.rstrip(b"\0") for part in annexb.split(b"\0\0\1")[1:]) if nal]


def rtp_header(sequence: int, timestamp: int, ssrc: int, is_last: bool) -> bytes:
    """RFC 3550, section 5.1; `is_last` of its picture."""
    return struct.pack(">BBHII", 0x80, 96 | (0x80 if is_last else 0), sequence & 0xFFFF, timestamp & 0xFFFFFFFF, ssrc)


async def play(video: RecordedVideo, writer: asyncio.StreamWriter, began: float) -> None:
    """Send each unit when it is due, from the next key frame on; all of a unit in one write."""
    ssrc, sequence = secrets.randbits(32), secrets.randbits(15)
    payloads = [video.payloads(unit.nals) for unit in video.units]
    turn, position = divmod((time.monotonic() - began) * CLOCK, video.duration)
    turn = int(turn)
    after = (number for number, unit in enumerate(video.units) if unit.dts >= position and unit.is_key)
    number = next(after, len(video.units))
    with contextlib.suppress(ConnectionError, RuntimeError):
        while not writer.is_closing():
            if number == len(video.units):
                turn, number = turn + 1, 0
            unit, parts = video.units[number], payloads[number]
            due = began + (turn * video.duration + unit.dts) / CLOCK
            await asyncio.sleep(max(0.0, due - time.monotonic()))
            sent = bytearray()
            for place, payload in enumerate(parts):
                head = rtp_header(sequence, turn * video.duration + unit.pts, ssrc, place == len(parts) - 1)
                sent += struct.pack(">cBH", b"$", 0, len(head) + len(payload)) + head + payload
                sequence += 1
            writer.write(bytes(sent))
            await writer.drain()
            number += 1


async def serve_viewer(
    videos: Sequence[RecordedVideo], reader: asyncio.StreamReader, writer: asyncio.StreamWriter, began: float
) -> None:
    """One connection, from OPTIONS to TEARDOWN."""
    playing: asyncio.Task[None] | None = None
    try:
        while True:
            first = await reader.readexactly(1)
            if first == b"$":  # FFmpeg's reports
                await reader.readexactly(struct.unpack(">xH", await reader.readexactly(3))[0])
                continue
            text = (first + await reader.readuntil(b"\r\n\r\n")).decode("latin1")
            method, uri = text.split(" ")[:2]
            video = videos[int(uri.split("/")[3] or 0) % len(videos)]
            sequence = next(line for line in text.split("\r\n") if line.lower().startswith("cseq"))
            extra, body = ["Session: 1;timeout=60"], ""
            if method == "DESCRIBE":
                body = video.sdp()
                extra = ["Content-Type: application/sdp", f"Content-Base: {uri}/", f"Content-Length: {len(body)}"]
            elif method == "SETUP":
                extra.append("Transport: RTP/AVP/TCP;unicast;interleaved=0-1")
            writer.write(("\r\n".join(["RTSP/1.0 200 OK", sequence, *extra]) + "\r\n\r\n" + body).encode())
            if method == "PLAY" and playing is None:
                playing = asyncio.ensure_future(play(video, writer, began))
            if method == "TEARDOWN":
                return
    except (asyncio.IncompleteReadError, OSError, ValueError, StopIteration):
        return
    finally:
        if playing is not None:
            playing.cancel()
        writer.close()


async def serve(clips: Sequence[Path], host: str, port: int, began: float | None) -> None:
    videos = [RecordedVideo(path) for path in clips]
    since = time.monotonic() if began is None else began
    server = await asyncio.start_server(lambda reader, writer: serve_viewer(videos, reader, writer, since), host, port)
    print(server.sockets[0].getsockname()[1], flush=True)
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("clips", nargs="+", type=Path)
    parser.add_argument("--bind", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--began", type=float)
    given = parser.parse_args()
    asyncio.run(serve(given.clips, given.bind, given.port, given.began))


if __name__ == "__main__":
    main()
