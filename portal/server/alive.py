"""Each process shows that it is alive, and one that stands still is killed and started again.

    beat()                          # once a second or so, from the loop that must not stand still
    beat_while(lambda: loops)       # from a thread, as long as none of these loops stands

To the supervisor by the time of a file (BEAT_FILE, portal/server/run.py); to systemd, where it is the service's own
process, by a datagram (sd_notify(3), WatchdogSec=). Standard library only: the supervisor reads this, too.
"""

from __future__ import annotations

import contextlib
import os
import socket
import threading
import time
from collections.abc import Callable, Iterable
from pathlib import Path

from portal.server import variables

BEAT_EVERY_S = 1.0
ROUND_WITHIN_S = 90.0  # a round of a loop may wait for a locked database, and for a Redis that hangs


def notify(state: str) -> None:
    """Tell systemd, if it started this process: "READY=1", "WATCHDOG=1", "STOPPING=1"."""
    address = os.environ.get("NOTIFY_SOCKET", "")
    if not address:
        return
    if address.startswith("@"):
        address = "\0" + address[1:]  # in the abstract namespace
    with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sock:
        sock.setblocking(False)  # whoever does not listen holds up nobody
        sock.sendto(state.encode(), address)


def beat() -> None:
    """Show that this process is alive."""
    if path := variables.read("BEAT_FILE"):
        with contextlib.suppress(OSError):
            Path(path).touch(0o600)
    notify("WATCHDOG=1")


def beat_while(rounds: Callable[[], Iterable[float]]) -> None:
    """Beat from a thread of its own for as long as this process lives and all of its loops go round.

    Args:
        rounds: when each of its loops began its last round, on the monotonic clock.
    """

    def run() -> None:
        while True:
            now = time.monotonic()
            if all(now - at < ROUND_WITHIN_S for at in rounds()):
                beat()
            time.sleep(BEAT_EVERY_S)

    threading.Thread(target=run, name="alive", daemon=True).start()
