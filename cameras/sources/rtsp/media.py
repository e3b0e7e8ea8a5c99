"""How a camera's pictures travel: interleaved with its answers, or as datagrams; to FFmpeg always interleaved."""

from __future__ import annotations

import re
import socket
import time
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from django.utils.translation import gettext as _

from cameras.errors import StreamError
from cameras.sources.rtsp.messages import Packet, interleaved
from cameras.sources.rtsp.rtp import HOLE_S, JitterBuffer, PictureTimes, RtpPacket, goodbye_in, parse_rtp

UDP_PACKET = 65_535
PORT_PAIRS_TRIED = 50


@dataclass
class Medium:
    """One medium that was set up: the camera's side and FFmpeg's. The even channel or port carries pictures, the odd
    one their reports (RTCP).
    """

    client_channel: int
    buffer: JitterBuffer
    times: PictureTimes
    rate: int
    camera_channel: int = -1  # TCP
    sockets: tuple[socket.socket, socket.socket] | None = None  # UDP
    server_ports: tuple[int, int] = (0, 0)

    @property
    def client_transport(self) -> str:
        return f"RTP/AVP/TCP;unicast;interleaved={self.client_channel}-{self.client_channel + 1}"


class Media:
    """All media of one connection. Pictures go on in order, with timestamps of our own clock."""

    def __init__(self, camera: socket.socket, transport: str, holes: deque[float]) -> None:
        """`transport`: "tcp", "udp", or "auto" for TCP first; `holes` is told since when pictures are broken."""
        self._camera = camera
        self._transport = transport
        self._holes = holes
        self._media: list[Medium] = []
        self._opened: list[socket.socket] = []

    def __len__(self) -> int:
        return len(self._media)

    def close(self) -> None:
        for each in self._opened:
            each.close()

    def move(self, camera: socket.socket) -> None:
        """The camera is connected again; nothing has been set up yet."""
        self._camera = camera

    # -- setting up -------------------------------------------------------------------------------------------------

    def offer(self, wanted: str, rate: int) -> tuple[Medium, str]:
        """What to offer the camera when FFmpeg asks for "RTP/AVP/TCP;unicast;interleaved=0-1".

        Args:
            rate: timestamps a second.
        """
        found = re.search(r"interleaved=(\d+)", wanted)
        return self._offer(int(found[1]) if found else 2 * len(self._media), rate)

    def offer_other(self, refused: Medium) -> tuple[Medium, str] | None:
        """The other transport, where the camera refused the first and the choice is ours; else None."""
        if self._transport != "auto" or refused.sockets is not None:
            return None
        self._transport = "udp"
        return self._offer(refused.client_channel, refused.rate)

    def _offer(self, channel: int, rate: int) -> tuple[Medium, str]:
        times = PictureTimes(rate)
        if self._transport != "udp":
            return Medium(channel, JitterBuffer(0.0), times, rate), (
                f"RTP/AVP/TCP;unicast;interleaved={channel}-{channel + 1}"
            )
        pair = port_pair(self._camera)
        self._opened += pair
        port = pair[0].getsockname()[1]
        medium = Medium(channel, JitterBuffer(HOLE_S), times, rate, sockets=pair)
        return medium, f"RTP/AVP;unicast;client_port={port}-{port + 1}"

    def accept(self, medium: Medium, transport: str) -> None:
        """Note what the camera chose. A source or destination that it names is not used."""
        if medium.sockets is None:
            found = re.search(r"interleaved=(\d{1,3})", transport, re.ASCII)
            channel = int(found[1]) if found else medium.client_channel
            medium.camera_channel = channel if channel < 255 else medium.client_channel
        elif found := re.search(r"server_port=(\d{1,5})(?:-(\d{1,5}))?", transport, re.ASCII):
            first = int(found[1])
            ports = first, int(found[2] or first + 1)
            medium.server_ports = ports if all(0 < port < 65_536 for port in ports) else (0, 0)
        self._media.append(medium)

    # -- from the camera --------------------------------------------------------------------------------------------

    def from_connection(self, packet: Packet) -> Iterator[tuple[bytes, bool]]:
        """What FFmpeg gets for a packet from the camera, and whether it has pictures; nothing if nobody set it up."""
        channel, payload = packet
        for medium in self._media:
            offset = channel - medium.camera_channel
            if medium.sockets is None and offset in (0, 1):
                yield from self._received(medium, offset, payload)
                return

    def from_socket(self, one: socket.socket) -> Iterator[tuple[bytes, bool]]:
        """The same for a datagram that waits at a socket; nothing if it came from anyone but the camera."""
        payload, peer = one.recvfrom(UDP_PACKET)
        if peer[0] != self._camera.getpeername()[0]:
            return
        for medium in self._media:
            if medium.sockets is not None and one in medium.sockets:
                yield from self._received(medium, medium.sockets.index(one), payload)
                return

    def give_up_holes(self) -> Iterator[tuple[bytes, bool]]:
        """What goes on now that missing packets have been waited for long enough."""
        for medium in self._media:
            yield from self._go_on(medium, medium.buffer.give_up(time.monotonic()))

    def due_in_s(self, most: float) -> float:
        """How long to wait, at most, before `give_up_holes` has something to do."""
        due = [medium.buffer.due_at for medium in self._media if medium.buffer.due_at is not None]
        return max(0.0, min([most, *(at - time.monotonic() for at in due)]))

    def taken_at(self, pts_s: float) -> float | None:
        return self._media[0].times.taken_at(pts_s) if self._media else None

    def _received(self, medium: Medium, offset: int, payload: bytes) -> Iterator[tuple[bytes, bool]]:
        packet = parse_rtp(payload, time.monotonic())
        if packet is not None:
            yield from self._go_on(medium, medium.buffer.push(packet))
        elif goodbye := goodbye_in(payload):
            yield interleaved(medium.client_channel + offset, goodbye), False

    def _go_on(self, medium: Medium, ready: Iterable[tuple[RtpPacket, bool]]) -> Iterator[tuple[bytes, bool]]:
        for packet, is_after_hole in ready:
            since = medium.times.hole_before(packet) if is_after_hole else None
            data = medium.times.stamp(packet)
            if is_after_hole and medium is self._media[0]:
                self._holes += [at for at in (since, medium.times.newest) if at is not None]
            yield interleaved(medium.client_channel, data), True

    # -- from FFmpeg ------------------------------------------------------------------------------------------------

    def report(self, packet: Packet) -> None:
        """Pass FFmpeg's receiver reports on to the camera."""
        channel, payload = packet
        for medium in self._media:
            offset = channel - medium.client_channel
            if offset not in (0, 1):
                continue
            if medium.sockets is None:
                self._camera.sendall(interleaved(medium.camera_channel + offset, payload))
            elif medium.server_ports[offset]:
                camera_ip = self._camera.getpeername()[0]
                medium.sockets[offset].sendto(payload, (camera_ip, medium.server_ports[offset]))


def port_pair(camera: socket.socket) -> tuple[socket.socket, socket.socket]:
    """Two neighbouring ports, the first even (RFC 3550, section 11), on the address that reaches the camera."""
    own = camera.getsockname()[0]
    for _attempt in range(PORT_PAIRS_TRIED):
        first = socket.socket(camera.family, socket.SOCK_DGRAM)
        first.bind((own, 0))
        port = first.getsockname()[1]
        second = socket.socket(camera.family, socket.SOCK_DGRAM)
        try:
            if port % 2:
                raise OSError
            second.bind((own, port + 1))
        except OSError:
            first.close()
            second.close()
            continue
        first.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
        return first, second
    raise StreamError(_("There is no free port for the camera's pictures. Choose TCP."))
