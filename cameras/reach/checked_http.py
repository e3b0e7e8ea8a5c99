"""HTTP to a camera's or loudspeaker's address: httpx, over connections opened by cameras/reach/addresses.py.

No redirect is followed and no proxy from the environment used; the connection goes to the checked address.
"""

from __future__ import annotations

import socket
import ssl
import threading
from collections.abc import Callable, Iterable
from typing import Any

import httpcore
import httpx

from cameras.reach import addresses, lenient_head
from cameras.reach.addresses import TICK_S

Check = Callable[[], None]


class CheckedStream(httpcore.NetworkStream):
    """A connection whose reads end when `check` raises; httpx's time-out starts again with each read."""

    def __init__(self, connection: socket.socket, check: Check, write_s: float) -> None:
        self._connection = connection
        self._check = check
        self._write_s = write_s
        self._head: bytearray | None = None  # of an answer, while it comes in
        self._ready = b""

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        if not self._ready:
            self._ready = self._receive(max_bytes)
            while self._head is not None and self._ready:
                self._head += self._ready
                self._ready = self._take_head()
                if self._head is not None:
                    self._ready = self._receive(max_bytes)
            if self._head:  # the connection ended inside a head
                self._ready, self._head = bytes(self._head), None
        data, self._ready = self._ready[:max_bytes], self._ready[max_bytes:]
        return data

    def _take_head(self) -> bytes:
        """The head, in a form that httpx takes, and what follows it; nothing while it is not whole."""
        head = bytes(self._head or b"")
        end = lenient_head.END.search(head)
        if end is None and lenient_head.may_begin(head) and len(head) < lenient_head.MOST_BYTES:
            return b""
        self._head = None
        return head if end is None else lenient_head.repaired(head[: end.start()]) + b"\r\n\r\n" + head[end.end() :]

    def _receive(self, max_bytes: int) -> bytes:
        self._connection.settimeout(TICK_S)
        while True:
            self._check()
            try:
                return self._connection.recv(max_bytes)
            except TimeoutError:
                continue
            except OSError as error:
                raise httpcore.ReadError from error

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        if self._head is None and not self._ready:
            self._head = bytearray()
        self._connection.settimeout(self._write_s)
        try:
            self._connection.sendall(buffer)
        except OSError as error:
            raise httpcore.WriteError from error

    def close(self) -> None:
        self._connection.close()

    def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.NetworkStream:
        self._connection.settimeout(self._write_s)
        try:
            secured = ssl_context.wrap_socket(self._connection, server_hostname=server_hostname)
        except OSError as error:
            self.close()
            raise httpcore.ConnectError(str(error)) from error
        return CheckedStream(secured, self._check, self._write_s)

    def get_extra_info(self, info: str) -> Any:
        return self._connection if info == "socket" else None


class CheckedBackend(httpcore.NetworkBackend):
    """Connects only to checked addresses, through cameras/reach/addresses.py."""

    def __init__(self, check: Check, stop: threading.Event, write_s: float, reached: Callable[[str], None]) -> None:
        self._check = check
        self._stop = stop
        self._write_s = write_s
        self._reached = reached

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.NetworkStream:
        checked = addresses.resolve(host, port, self._stop)
        self._reached("name")
        connection = addresses.connect(checked, port, self._stop)
        self._reached("connection")
        return CheckedStream(connection, self._check, self._write_s)


class CheckedTransport(httpx.HTTPTransport):
    """httpx's own transport, over a pool that connects through CheckedBackend."""

    def __init__(self, backend: httpcore.NetworkBackend) -> None:
        super().__init__(trust_env=False)
        self._pool = httpcore.ConnectionPool(ssl_context=ssl.create_default_context(), network_backend=backend)


def checked_client(
    check: Check, stop: threading.Event, write_s: float, reached: Callable[[str], None] = lambda step: None
) -> httpx.Client:
    """A client for one camera; the caller closes it.

    Args:
        check: raises a CameraError when reading should end; it passes through httpx unchanged.
        stop: once set, no more names are looked up and no more connections made.
        write_s: how long a write may take, in seconds.
        reached: called with "name" and "connection".

    A request raises CameraError if the address may not be opened or does not answer, httpx.HTTPError otherwise.
    """
    return httpx.Client(
        transport=CheckedTransport(CheckedBackend(check, stop, write_s, reached)), follow_redirects=False,
        trust_env=False, timeout=write_s,
        headers={"User-Agent": "mask-portal", "Accept": "*/*", "Accept-Encoding": "identity"},
    )  # fmt: skip
