"""RTSP (RFC 2326), through our own relay on loopback: FFmpeg talks to the relay, the relay to the camera.

On its own, FFmpeg follows a 302 wherever it leads, sends datagrams to whatever address a camera names, and writes the
password into its errors. Behind the relay it knows neither the camera's address nor the login:

    FFmpeg ── rtsp://127.0.0.1:port/token/0 ──▶ relay ── rtsp://192.168.1.20/stream1 ──▶ camera
              always interleaved (TCP)           signs in, maps addresses,   TCP or UDP, with the one checked
                                                 answers redirects itself    address alone

`messages` cuts bytes into messages and packets, `sdp` maps addresses, `rtp` puts packets in order and gives them our
clock, `media` carries them, `conversation` sends requests to the camera and signs in, and `relay` brings them together.
"""

from __future__ import annotations

from cameras.reach import addresses
from cameras.sources.base import Opening, register
from cameras.sources.rtsp.relay import Relay
from cameras.sources.stream import Stream


@register("rtsp")
def open_rtsp(opening: Opening) -> Stream:
    """Name, connection and login are ours; FFmpeg goes through the relay."""
    address = addresses.parse_address(opening.place.address, ("rtsp",))
    checked = addresses.resolve(address.host, address.port, opening.stop)
    opening.reached("name")
    relay = Relay(opening, address, checked)
    opening.reached("connection")
    relay.start()
    options = {
        "rtsp_transport": "tcp",
        "allowed_media_types": "video",
        "protocol_whitelist": "tcp,rtp",
        "reorder_queue_size": "0",  # the relay puts packets in order
    }
    return Stream.open(relay, relay.url, "rtsp", options)
