"""A clock that nobody can set: seconds since this machine started, beside which start that was.

Two moments of the same start can be compared, whichever process noted them and whatever happened to the wall's clock
in between. Where the system does not say (it is not Linux), the start is empty, and nothing is compared.
"""

from __future__ import annotations

import time
from functools import cache
from pathlib import Path

_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


@cache
def boot_id() -> str:
    try:
        return _BOOT_ID.read_text().strip()
    except OSError:
        return ""


def uptime_s() -> float:
    """Seconds since the machine started, sleep included."""
    return time.clock_gettime(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))


def uptime_at(moment: float) -> float:
    """The uptime at a moment of the wall's clock, in seconds since the epoch, that was just noted."""
    return uptime_s() - (time.time() - moment)
