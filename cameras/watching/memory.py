"""A worker's free memory goes back to the system.

Frames are large, of many sizes, and freed by other threads than those that asked for them. The C library keeps what
lies between two blocks in use: by the hour, a worker seems to grow (glibc's manual, "Memory Allocation Tunables").
"""

from __future__ import annotations

import ctypes

TRIM_EVERY_S = 30.0


def trim() -> None:
    """Give back whole pages that nothing uses; does nothing where the C library is not glibc."""
    if _malloc_trim is not None:
        _malloc_trim(ctypes.c_size_t(0))


_malloc_trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
