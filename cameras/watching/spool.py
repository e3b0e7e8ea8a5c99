"""Findings on disk until they are recorded, so that a slow database costs no frame and a killed worker no finding.

A worker's spool is a folder DATA_DIR/spool/<worker>.<instance>/ with a file `lock`, held by `flock` while the worker
lives, and segments 000001.log, 000002.log, … A segment is a sequence of records, each

    length   4 bytes, big-endian: of the payload
    checksum 4 bytes, big-endian: CRC-32 of the payload
    payload  4 bytes: length of the header; the header, JSON in UTF-8; then the picture, JPEG, or nothing

so that the state "online" of camera 7 under token 3 reads (lengths and checksum in hexadecimal)

    00000056 5b1c90f3 00000052 {"kind": "state", "camera": 7, "token": 3, "state": "online", …}

A record whose checksum does not match ends its segment: it was cut by a crash, and nothing was promised for it.
"""

from __future__ import annotations

import fcntl
import json
import logging
import os
import shutil
import struct
import threading
import time
import zlib
from collections import deque
from collections.abc import Iterator, Set
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

log = logging.getLogger(__name__)

COMMIT_EVERY_S = 0.05
STORED_WITHIN_S = 1.0
SEGMENT_BYTES = 8_000_000
MOST_WAITING_BYTES = 64_000_000  # in memory while the disk accepts none
RETRY_S = 1.0
_FRAME = struct.Struct(">II")
FRAME_BYTES = _FRAME.size  # before a payload
_LENGTH = struct.Struct(">I")
MOST_BYTES = 64_000_000  # a greater length is a cut record, not a record


@dataclass(frozen=True)
class Record:
    """One thing that a camera's watch reports; findings.py knows what each kind holds.

    Args:
        body: what is reported, as values that JSON can hold; includes `kind`, `camera` and `token`.
        picture: JPEG, empty if there is none.
    """

    body: dict[str, Any]
    picture: bytes = b""

    @property
    def kind(self) -> str:
        return str(self.body["kind"])

    @property
    def camera_id(self) -> int:
        return int(self.body["camera"])

    @property
    def token(self) -> int:
        return int(self.body["token"])

    def encode(self) -> bytes:
        header = json.dumps(self.body, ensure_ascii=False).encode()
        payload = _LENGTH.pack(len(header)) + header + self.picture
        return _FRAME.pack(len(payload), zlib.crc32(payload)) + payload


def decode_record(payload: bytes) -> Record:
    """Parse a payload; raises ValueError if it is not one of ours."""
    if len(payload) < _LENGTH.size:
        raise ValueError("too short")
    (length,) = _LENGTH.unpack_from(payload)
    body = json.loads(payload[_LENGTH.size : _LENGTH.size + length])
    if not isinstance(body, dict) or not {"kind", "camera", "token"} <= set(body):
        raise ValueError("no header")
    return Record(body, payload[_LENGTH.size + length :])


def read_records(file: IO[bytes]) -> Iterator[tuple[Record, int]]:
    """Records from the file's position on, each with the position after it; ends at the first cut one."""
    while len(head := file.read(_FRAME.size)) == _FRAME.size:
        length, checksum = _FRAME.unpack(head)
        if length > MOST_BYTES:
            return
        payload = file.read(length)
        if len(payload) < length or zlib.crc32(payload) != checksum:
            return
        try:
            record = decode_record(payload)
        except ValueError:
            return
        yield record, file.tell()


@dataclass
class SpoolWriter:
    """The one writer of a worker's spool: camera threads hand records in, its thread writes and fsyncs in groups."""

    folder: Path
    trouble: str = ""  # why nothing can be written at the moment, in the system's words
    dropped: int = 0
    written: threading.Condition = field(default_factory=threading.Condition)
    _waiting: deque[bytes] = field(default_factory=deque)
    _waiting_bytes: int = 0
    _came: threading.Condition = field(default_factory=threading.Condition)
    _ending: threading.Event = field(default_factory=threading.Event)
    _is_urgent: bool = False
    _put: int = 0  # how many records were handed in
    _stored: int = 0  # up to which of them all are on the disk, or dropped
    _number: int = 0
    _size: int = 0
    _file: IO[bytes] | None = None

    def __post_init__(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._lock = (self.folder / "lock").open("w")
        fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        self._thread = threading.Thread(target=self._run, name="spool", daemon=True)
        self._thread.start()

    def put(self, record: Record, is_urgent: bool = False) -> None:
        """Hand in a record. If MOST_WAITING_BYTES are waiting already, the oldest are dropped and counted: a disk that
        accepts nothing must not fill the memory too.

        Args:
            is_urgent: return only when it is on the disk, or the disk does not take it within STORED_WITHIN_S. Else it
                is written with what comes within COMMIT_EVERY_S, and lost if the process is killed before.
        """
        data = record.encode()
        with self._came:
            self._put += 1
            number = self._put
            self._is_urgent = self._is_urgent or is_urgent
            self._waiting.append(data)
            self._waiting_bytes += len(data)
            while self._waiting_bytes > MOST_WAITING_BYTES and len(self._waiting) > 1:
                self._waiting_bytes -= len(self._waiting.popleft())
                self.dropped += 1
            self._came.notify()
        if is_urgent and not self.trouble:
            with self.written:
                self.written.wait_for(lambda: self._stored >= number, STORED_WITHIN_S)

    def close(self, within_s: float = 2.0) -> None:
        """Write what waits, as far as the disk accepts it. The folder stays locked until `unlock`, for its reader."""
        with self._came:
            self._ending.set()
            self._came.notify()
        self._thread.join(within_s)
        if self._file is not None and not self._thread.is_alive():
            self._file.close()
            self._file = None
        with self.written:
            self.written.notify_all()

    def unlock(self) -> None:
        """Release the folder: from now on another worker may record what is left in it."""
        self._lock.close()

    def segments(self) -> list[Path]:
        return segments(self.folder)

    def active(self) -> Path | None:
        """The segment that is being written, never to be deleted by a reader."""
        return self._path(self._number) if self._file is not None else None

    def _path(self, number: int) -> Path:
        return self.folder / f"{number:06}.log"

    def _run(self) -> None:
        while True:
            data, last = self._next_group()
            if not data:
                return
            while not self._write(data):
                if self._ending.wait(RETRY_S):
                    log.error("the worker is ending, and the disk did not take %d bytes of findings", len(data))
                    return
            with self.written:
                self._stored = last
                self.written.notify_all()

    def _next_group(self) -> tuple[bytes, int]:
        """What came within COMMIT_EVERY_S of the first, or up to an urgent one, and the last one's number.

        Nothing at the end.
        """
        with self._came:
            while not self._waiting and not self._ending.is_set():
                self._came.wait()
            self._came.wait_for(lambda: self._is_urgent or self._ending.is_set(), COMMIT_EVERY_S)
            group = b"".join(self._waiting)
            self._waiting.clear()
            self._waiting_bytes = 0
            self._is_urgent = False
            return group, self._put

    def _write(self, data: bytes) -> bool:
        """Append and fsync; on a full disk cut the segment back to where it was, and say so."""
        try:
            if self._file is None or self._size > SEGMENT_BYTES:
                self._next_segment()
            file = self._file
            if file is None:
                return False
            try:
                write_all(file, data)
                os.fsync(file.fileno())
            except OSError:
                os.ftruncate(file.fileno(), self._size)
                file.seek(self._size)
                raise
            self._size += len(data)
        except OSError as error:
            if not self.trouble:
                log.error("the spool cannot be written: %s", error.strerror)
            self.trouble = error.strerror or "error"
            return False
        self.trouble = ""
        return True

    def _next_segment(self) -> None:
        if self._file is not None:
            self._file.close()
        self._number += 1
        self._file = self._path(self._number).open("wb", buffering=0)
        self._size = 0


def write_all(file: IO[bytes], data: bytes) -> None:
    """Write all of the data: an unbuffered file may accept only a part, as when the disk fills up."""
    view = memoryview(data)
    while view:
        view = view[file.write(view) :]


@dataclass
class SpoolReader:
    """Reads a spool in order. `done` discards what was recorded; after a crash all that is left is read once more."""

    folder: Path
    _segment: Path | None = None
    _position: int = 0

    def batch(self, most: int = 50) -> list[tuple[Record, Path, int]]:
        """The next records, each with its place, to be handed to `done` once it is recorded."""
        found: list[tuple[Record, Path, int]] = []
        for path in segments(self.folder):
            if self._segment is not None and path < self._segment:
                continue
            start = self._position if path == self._segment else 0
            with path.open("rb") as file:
                file.seek(start)
                for record, position in read_records(file):
                    found.append((record, path, position))
                    if len(found) >= most:
                        return found
        return found

    def done(self, place: tuple[Record, Path, int], active: Path | None) -> None:
        """Everything up to this record is recorded: whole segments before it are deleted, except the active one."""
        _, path, position = place
        self._segment, self._position = path, position
        for other in segments(self.folder):
            if other < path:
                other.unlink(missing_ok=True)
        if path != active and position >= path.stat().st_size:
            path.unlink(missing_ok=True)


def segments(folder: Path) -> list[Path]:
    return sorted(folder.glob("[0-9]*.log"))


def abandoned(root: Path) -> Iterator[tuple[Path, IO[str]]]:
    """Spools whose worker is gone, each locked by us while it is looked at; close the lock's file when done."""
    for folder in sorted(root.iterdir()) if root.is_dir() else []:
        if (lock := lock_if_free(folder)) is not None:
            yield folder, lock


def lock_if_free(folder: Path) -> IO[str] | None:
    """The lock of a spool whose worker is gone; None if it is alive, or there is no such spool."""
    try:
        lock = (folder / "lock").open("a")
    except OSError:
        return None
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        lock.close()
        return None
    return lock


def has_ended(folder: Path) -> bool:
    """Whether the worker of this spool is gone: nobody holds its lock."""
    lock = lock_if_free(folder)
    if lock is not None:
        lock.close()
    return lock is not None


def discard(folder: Path) -> None:
    """Delete a spool that was recorded in full."""
    shutil.rmtree(folder, ignore_errors=True)


def refuse(root: Path, record: Record, reason: str) -> None:
    """Keep what cannot be recorded, with the reason, in root/<day>.log, for a person to look at."""
    root.mkdir(parents=True, exist_ok=True, mode=0o700)
    kept = Record(record.body | {"refused": reason}, record.picture)
    with (root / f"{time.strftime('%Y-%m-%d', time.gmtime())}.log").open("ab") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        file.write(kept.encode())


def forget_refused(root: Path, keys: Set[object]) -> int:
    """Remove from what was refused all that is about one of these people or violations; returns how many records."""
    count = 0
    for path in root.glob("*.log"):
        with path.open("r+b") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            records = [record for record, _position in read_records(file)]
            kept = [each for each in records if keys.isdisjoint({each.body.get("key"), each.body.get("passage")})]
            if len(kept) < len(records):
                file.seek(0)
                file.truncate()
                file.writelines(record.encode() for record in kept)
                count += len(records) - len(kept)
    return count
