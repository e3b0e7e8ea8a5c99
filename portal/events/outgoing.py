"""What a worker at a site recorded, on its disk until the portal has it: a file a batch, in the spool's format.

    DATA_DIR/outgoing/01764533000123456789.log

A file is complete, or it is not there: nothing is ever appended to one. Batches may go twice; recording bears it.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterable, Mapping
from functools import lru_cache
from pathlib import Path

from django.conf import settings

from cameras.watching.spool import Record, read_records

TOKENS = "tokens.json"  # the portal's token for each camera: ours mean nothing to it


def root() -> Path:
    return Path(settings.DATA_DIR) / "outgoing"


def keep(records: Iterable[Record]) -> None:
    """Keep records for the portal, under its own tokens; raises OSError if the disk takes none.

    What is about a camera that the portal never gave us is left out. Does nothing where this is the portal itself.
    """
    if not settings.PORTAL:
        return
    tokens = read_tokens(root())
    ours = [Record(each.body | {"token": tokens[each.camera_id]}, each.picture) for each in records
            if each.camera_id in tokens]  # fmt: skip
    if ours:
        write_whole(root() / f"{time.time_ns():020}.log", b"".join(record.encode() for record in ours))


def waiting(folder: Path) -> list[Path]:
    """Batches that the portal does not have yet, oldest first."""
    return sorted(folder.glob("[0-9]*.log"))


def oldest_at(folder: Path) -> float:
    """When the oldest of them was recorded, in seconds since the epoch; infinite if none waits."""
    files = waiting(folder)
    return int(files[0].stem) / 1e9 if files else float("inf")


def drop_old(folder: Path, before: float) -> None:
    """Delete what was recorded before this time."""
    for path in waiting(folder):
        if int(path.stem) / 1e9 < before:
            path.unlink(missing_ok=True)


def read(path: Path) -> list[Record]:
    with path.open("rb") as file:
        return [record for record, _position in read_records(file)]


def write_tokens(folder: Path, tokens: Mapping[int, int]) -> None:
    """The portal's tokens by camera; from now on, records go under these."""
    write_whole(folder / TOKENS, json.dumps(tokens).encode())


def read_tokens(folder: Path) -> dict[int, int]:
    try:
        changed = (folder / TOKENS).stat().st_mtime_ns
    except FileNotFoundError:
        return {}
    return _tokens(folder, changed)


@lru_cache(maxsize=4)
def _tokens(folder: Path, changed: int) -> dict[int, int]:
    return {int(camera): token for camera, token in json.loads((folder / TOKENS).read_bytes()).items()}


def write_whole(path: Path, content: bytes) -> None:
    """All of it is on the disk when this returns, or nothing. Raises OSError."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    scratch = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with scratch.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        scratch.replace(path)
    except OSError:
        scratch.unlink(missing_ok=True)
        raise
