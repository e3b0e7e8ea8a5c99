"""How a camera's pictures travel: interleaved with its answers, or as datagrams; to FFmpeg always interleaved."""

from __future__ import annotations

import re
import socket
from dataclasses import dataclass

from django.utils.translation import gettext as _

from cameras.errors import StreamError
from cameras.sources.rtsp.messages import Packet, interleaved

UDP_PACKET = 65_535
PORT_PAIRS_TRIED = 50


@dataclass
class Medium:
    """One medium that was set up: the camera's side and FFmpeg's. The even channel or port carries pictures, the odd
    one their reports (RTCP).
    """

    client_channel: int
    camera_channel: int = -1  # TCP
    sockets: tuple[socket.socket, socket.socket] | None = None  # UDP
    server_ports: tuple[int, int] = (0, 0)

    @property
    def client_transport(self) -> str:
        return f"RTP/AVP/TCP;unicast;interleaved={self.client_channel}-{self.client_channel + 1}"


class Media:
    """All media of one connection."""

    def __init__(self, camera: socket.socket, transport: str) -> None:
        """`transport`: "tcp" or "udp"."""
        self._camera = camera
        self._camera_ip = camera.getpeername()[0]
        self._transport = transport
        self._media: list[Medium] = []
        self._opened: list[socket.socket] = []

    def __len__(self) -> int:
        return len(self._media)

    def close(self) -> None:
        for each in self._opened:
            each.close()

    # -- setting up -------------------------------------------------------------------------------------------------

    def offer(self, wanted: str) -> tuple[Medium, str]:
        """What to offer the camera when FFmpeg asks for "RTP/AVP/TCP;unicast;interleaved=0-1"."""
        found = re.search(r"interleaved=(\d+)", wanted)
        channel = int(found[1]) if found else 2 * len(self._media)
        if self._transport != "udp":
            return Medium(channel), f"RTP/AVP/TCP;unicast;interleaved={channel}-{channel + 1}"
        pair = port_pair(self._camera)
        self._opened += pair
        port = pair[0].getsockname()[1]
        return Medium(channel, sockets=pair), f"RTP/AVP;unicast;client_port={port}-{port + 1}"

    def accept(self, medium: Medium, transport: str) -> None:
        """Note what the camera chose. A source or destination that it names is not used."""
        if medium.sockets is None:
            found = re.search(r"interleaved=(\d+)", transport)
            medium.camera_channel = int(found[1]) if found else medium.client_channel
        elif found := re.search(r"server_port=(\d+)(?:-(\d+))?", transport):
            medium.server_ports = (int(found[1]), int(found[2] or int(found[1]) + 1))
        self._media.append(medium)

    # -- from the camera --------------------------------------------------------------------------------------------

    def interleaved_part(self, packet: Packet) -> tuple[bytes, bool] | None:
        """What FFmpeg gets for a packet from the camera, and whether it has pictures; None if nobody set it up."""
        channel, payload = packet
        for medium in self._media:
            offset = channel - medium.camera_channel
            if medium.sockets is None and offset in (0, 1):
                return interleaved(medium.client_channel + offset, payload), offset == 0
        return None

    def datagram_part(self, one: socket.socket) -> tuple[bytes, bool] | None:
        """The same for a datagram that waits at a socket; None if it came from anyone but the camera."""
        payload, peer = one.recvfrom(UDP_PACKET)
        if peer[0] != self._camera_ip:
            return None
        for medium in self._media:
            if medium.sockets is not None and one in medium.sockets:
                offset = medium.sockets.index(one)
                return interleaved(medium.client_channel + offset, payload), offset == 0
        return None

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
                medium.sockets[offset].sendto(payload, (self._camera_ip, medium.server_ports[offset]))


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
