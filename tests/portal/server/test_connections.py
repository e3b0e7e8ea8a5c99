"""What a peer may cost before it is known: over real connections, against uvicorn as the portal starts it."""

from __future__ import annotations

import contextlib
import select
import socket
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import uvicorn
from hypothesis import given, settings
from hypothesis import strategies as st
from websockets.sync.client import connect

from portal.server import connections
from portal.server.connections import Census, FairShare
from portal.server.run import Supervisor
from tests.portal_process import wait_for

Serve = Callable[..., int]
SHORT_S = 0.3
GET = b"GET / HTTP/1.1\r\nHost: x\r\n"


class Application:
    """Answers with the size of the body; /large with 20 MB; a socket gets each message back."""

    def __init__(self) -> None:
        self.bodies: list[bytes] = []
        self.left = 0

    async def __call__(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        if scope["type"] == "websocket":
            await receive()
            await send({"type": "websocket.accept"})
            while (message := await receive())["type"] == "websocket.receive":
                await send({"type": "websocket.send", "text": message["text"]})
            return
        body, more = b"", True
        while more:
            message = await receive()
            if message["type"] == "http.disconnect":
                self.left += 1
                return
            body, more = body + message["body"], message.get("more_body", False)
        self.bodies.append(body)
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/plain")]})
        answer = b"x" * 20_000_000 if scope["path"] == "/large" else str(len(body)).encode()
        await send({"type": "http.response.body", "body": answer})


@pytest.fixture
def application() -> Application:
    return Application()


@pytest.fixture
def serve(application: Application, monkeypatch: pytest.MonkeyPatch) -> Iterator[Serve]:
    """Starts uvicorn with our protocol, and returns its port; nobody is counted yet."""
    servers: list[tuple[uvicorn.Server, threading.Thread]] = []

    def start(census: Census | None = None, app: Any = None, **options: Any) -> int:
        monkeypatch.setattr(connections, "connections", census or Census())
        config = uvicorn.Config(
            app or application,
            port=0,
            http=connections.BoundedHttp,
            loop="portal.server.connections:new_loop",
            log_level="error",
            lifespan="off",
            **options,
        )
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run, daemon=True)
        thread.start()
        servers.append((server, thread))
        wait_for(lambda: server.started, 5, "the server")
        return int(server.servers[0].sockets[0].getsockname()[1])

    yield start
    for server, thread in servers:
        server.should_exit = True
        thread.join(5)


@contextlib.contextmanager
def peer(port: int) -> Iterator[socket.socket]:
    with socket.create_connection(("127.0.0.1", port), timeout=5) as one:
        yield one


def everything(one: socket.socket) -> bytes:
    """All that comes until the server hangs up."""
    parts = []
    with contextlib.suppress(ConnectionResetError):
        while part := one.recv(65_536):
            parts.append(part)
    return b"".join(parts)


def status(answer: bytes) -> int:
    return int(answer.split(b" ", 2)[1]) if answer else 0


def send_until_answered(one: socket.socket, piece: bytes, most: int) -> int:
    """Send without a pause, as long as the server takes it and says nothing; returns how many bytes it took."""
    one.setblocking(False)
    sent = 0
    while sent < most:
        readable, writable, _broken = select.select([one], [one], [], 5)
        if readable or not writable:
            break
        with contextlib.suppress(BlockingIOError):
            sent += one.send(piece)
    one.settimeout(5)
    return sent


def test_a_head_without_end_is_refused_while_it_arrives(serve: Serve) -> None:
    with peer(serve()) as one:
        one.sendall(GET + b"X-Long: ")
        sent = send_until_answered(one, b"x" * 16_384, 120_000_000)
        assert sent < 8_000_000, "what lies in the buffers of two kernels"
        answer = one.recv(4096)
    assert status(answer) == 431 and b"64 KB and 100 fields" in answer


TOO_LARGE = {
    "field": GET + b"X-Long: " + b"x" * 65_536 + b"\r\n\r\n",
    "address": b"GET /" + b"y" * 66_000 + b" HTTP/1.1\r\n\r\n",
    "fields": GET + b"".join(b"X-%d: 1\r\n" % n for n in range(100)) + b"\r\n",
}


@pytest.mark.parametrize("head", TOO_LARGE.values(), ids=TOO_LARGE)
def test_a_head_that_is_too_large_gets_431_and_reaches_no_page(
    serve: Serve, application: Application, head: bytes
) -> None:
    with peer(serve()) as one:
        one.sendall(head)
        assert status(everything(one)) == 431
    assert application.bodies == []


def test_a_head_just_within_its_bounds_is_answered(serve: Serve) -> None:
    with peer(serve()) as one:
        fields = b"".join(b"X-%d: %s\r\n" % (n, b"v" * 600) for n in range(98))
        one.sendall(GET + fields + b"Connection: close\r\n\r\n")
        assert status(everything(one)) == 200


@pytest.mark.parametrize("beginning", [b"GET / HTTP/1.1\r\nX-Slow: ", b"", GET + b"\r\n"], ids=["head", "none", "next"])
def test_a_head_has_ten_seconds_however_it_trickles(
    serve: Serve, monkeypatch: pytest.MonkeyPatch, beginning: bytes
) -> None:
    """Also the next one on the same connection, and one of line ends alone."""
    assert connections.HEAD_S == 10
    monkeypatch.setattr(connections, "HEAD_S", SHORT_S)
    with peer(serve()) as one:
        if beginning:
            one.sendall(beginning)
        if beginning.endswith(b"\r\n\r\n"):
            assert status(one.recv(4096)) == 200
        trickle = threading.Event()
        sender = threading.Thread(
            target=drip, args=(one, b"\r\n" if beginning != b"GET / HTTP/1.1\r\nX-Slow: " else b"x", trickle)
        )
        sender.start()
        try:
            answer = everything(one)
        finally:
            trickle.set()
            sender.join()
        assert status(answer) == 408


def drip(one: socket.socket, piece: bytes, until: threading.Event) -> None:
    with contextlib.suppress(OSError):
        while not until.wait(0.05):
            one.sendall(piece)


def test_a_body_that_stands_still_is_given_up(
    serve: Serve, monkeypatch: pytest.MonkeyPatch, application: Application
) -> None:
    assert connections.BODY_PAUSE_S == 30
    monkeypatch.setattr(connections, "BODY_PAUSE_S", SHORT_S)
    with peer(serve()) as one:
        one.sendall(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\nhalf")
        assert status(everything(one)) == 408
    wait_for(lambda: application.left == 1, 5, "the application to be told")


def test_a_body_that_goes_on_slowly_is_waited_for_but_not_for_ever(
    serve: Serve, monkeypatch: pytest.MonkeyPatch, application: Application
) -> None:
    monkeypatch.setattr(connections, "BODY_PAUSE_S", SHORT_S)
    port = serve()
    with peer(port) as one:
        one.sendall(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\nConnection: close\r\n\r\n")
        waiting = threading.Event()
        for _ in range(10):
            waiting.wait(0.1)  # a second in all, of which no pause is too long
            one.sendall(b"x")
        assert status(everything(one)) == 200 and application.bodies == [b"x" * 10]
    monkeypatch.setattr(connections, "BODY_WHOLE_S", 2 * SHORT_S)
    with peer(port) as one:
        one.sendall(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\n")
        stop = threading.Event()
        sender = threading.Thread(target=drip, args=(one, b"x", stop))
        sender.start()
        assert status(everything(one)) == 408
        stop.set()
        sender.join()


def test_an_answer_that_nobody_takes_is_given_up(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "READER_S", SHORT_S)
    census = Census()
    with peer(serve(census)) as one:
        one.sendall(GET.replace(b"/ ", b"/large ", 1) + b"\r\n")
        wait_for(lambda: census.count == 1, 5, "the connection")
        wait_for(lambda: census.count == 0, 5, "its end, though nothing was read")


def test_what_waits_for_nothing_keeps_its_connection(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    """Between requests the head's time does not run: idle connections have a time of their own."""
    monkeypatch.setattr(connections, "HEAD_S", SHORT_S)
    with peer(serve(timeout_keep_alive=2)) as one:
        for _ in range(2):
            one.sendall(GET + b"\r\n")
            assert status(one.recv(4096)) == 200
            threading.Event().wait(2 * SHORT_S)
        assert everything(one) == b"", "and then it is closed without a word"


def test_no_address_has_all_the_connections(serve: Serve) -> None:
    census = Census(most=10, most_of_an_address=3)
    port = serve(census)
    with contextlib.ExitStack() as stack:
        mine = [stack.enter_context(peer(port)) for _ in range(3)]
        wait_for(lambda: census.count == 3, 5, "three connections")
        assert status(everything(stack.enter_context(peer(port)))) == 503
        with socket.create_connection(("127.0.0.1", port), 5, source_address=("127.0.0.2", 0)) as another:
            another.sendall(GET + b"\r\n")
            assert status(another.recv(4096)) == 200
        mine[0].close()
        wait_for(lambda: census.of_address["127.0.0.1"] == 2, 5, "one to leave")
        late = stack.enter_context(peer(port))
        late.sendall(GET + b"\r\n")
        assert status(late.recv(4096)) == 200


def test_a_socket_counts_until_its_end(serve: Serve) -> None:
    census = Census(most=1)
    port = serve(census)
    with connect(f"ws://127.0.0.1:{port}/") as one:
        one.send("hello")
        assert one.recv() == "hello" and census.count == 1
        with peer(port) as another:
            assert status(everything(another)) == 503
    wait_for(lambda: census.count == 0 and not census.of_address, 5, "the socket's end")


def test_behind_a_proxy_the_clients_address_counts(
    serve: Serve, application: Application, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TRUSTED_PROXIES", "127.0.0.1")
    monkeypatch.setattr(connections, "requests", Census(most_of_an_address=1))
    port = serve(
        Census(most_of_an_address=1), FairShare(application), proxy_headers=True, forwarded_allow_ips="127.0.0.1"
    )
    endless = b"POST / HTTP/1.1\r\nHost: x\r\nX-Forwarded-For: %s\r\nContent-Length: 10\r\n\r\n"
    with peer(port) as first, peer(port) as second, peer(port) as third:
        first.sendall(endless % b"203.0.113.1")
        wait_for(lambda: connections.requests.count == 1, 5, "the first")
        second.sendall(endless % b"203.0.113.1")
        assert status(everything(second)) == 503
        third.sendall(endless % b"203.0.113.2" + b"0123456789")
        assert status(third.recv(4096)) == 200


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.booleans(), st.sampled_from("abc")), max_size=40))
def test_the_count_is_of_those_who_are_here(moves: list[tuple[bool, str]]) -> None:
    census = Census(most=6, most_of_an_address=3)
    here: list[str] = []
    for comes, address in moves:
        if comes:
            has_room = len(here) < 6 and here.count(address) < 3
            assert census.enter(address) == has_room
            here += [address] * has_room
        elif address in here:
            census.leave(address)
            here.remove(address)
    assert census.count == len(here) and dict(census.of_address) == {each: here.count(each) for each in set(here)}


def test_the_portal_is_started_with_these_bounds(tmp_path: Any) -> None:
    (web, *_rest) = Supervisor(tmp_path, "127.0.0.1", 8000).programs()
    line = " ".join(web.arguments)
    assert "--http portal.server.connections:BoundedHttp" in line and "--timeout-keep-alive 15" in line
