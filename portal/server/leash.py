"""Runs one program that ends when its supervisor does, however the supervisor ended.

The supervisor holds the write end of a pipe; the read end is inherited. Its end-of-file is the signal: it also comes
when the supervisor was killed, and on every system (a parent-death signal exists only on Linux, and is per thread).

    python -m portal.server.leash 5 module celery -A portal worker     runs a Python module in this process
    python -m portal.server.leash 5 program valkey-server valkey.conf  runs a program as a child
"""

from __future__ import annotations

import ctypes
import os
import runpy
import signal
import subprocess
import sys
import threading
from collections.abc import Callable

GRACE_S = 3.0


def watch(descriptor: int, on_end: Callable[[], None]) -> None:
    """Call `on_end` from a thread of its own once the other end of the pipe is closed."""

    def wait() -> None:
        while os.read(descriptor, 1):
            pass
        on_end()

    threading.Thread(target=wait, name="leash", daemon=True).start()


def end_this_process() -> None:
    """Ask ourselves to stop; if we have not after GRACE_S, kill us and all that we started (we lead our session)."""
    timer = threading.Timer(GRACE_S, os.killpg, (os.getpgid(0), signal.SIGKILL))
    timer.daemon = True
    timer.start()
    os.kill(os.getpid(), signal.SIGTERM)


def _die_with_parent() -> None:
    if sys.platform == "linux":
        pr_set_pdeathsig = 1
        ctypes.CDLL(None).prctl(pr_set_pdeathsig, signal.SIGKILL)


def run_program(descriptor: int, arguments: list[str]) -> int:
    child = subprocess.Popen(arguments, preexec_fn=_die_with_parent)  # noqa: PLW1509, S603
    signal.signal(signal.SIGTERM, lambda *_: child.terminate())
    watch(descriptor, child.terminate)
    return child.wait()


def main() -> None:
    descriptor, kind, *arguments = sys.argv[1:]
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    if kind == "program":
        sys.exit(run_program(int(descriptor), arguments))
    signal.signal(signal.SIGINT, signal.default_int_handler)
    watch(int(descriptor), end_this_process)
    sys.argv = arguments
    runpy.run_module(arguments[0], run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
