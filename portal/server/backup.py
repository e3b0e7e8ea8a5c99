"""A backup is one file: the database, the pictures, the clips and the keys of an installation, sealed by a passphrase.

    make(Path("/mnt/masks.backup"), passphrase)        # while the portal runs
    restore(Path("/mnt/masks.backup"), passphrase)     # restore.py: into an empty installation that does not run

The file is a tar of two members in the format of age (https://age-encryption.org/v1), so that it can be read without
the portal, too:

    key.age        the key of this backup, sealed by the passphrase           age -d key.age > key
    content.age    a tar, sealed by that key                                  age -d -i key content.age | tar -x

and its content, in this order:

    database.sqlite3 or database.dump       all rows at one moment (VACUUM INTO, or pg_dump's custom format)
    pictures/2026/11/30/…jpg                what those rows name
    clips/…, keys/…, secret-key, …          the rest of DATA_DIR that cannot be made again
    manifest.json                           version, migrations, and the SHA-256 of every member

Pictures that are replaced, or too old, while a backup is made are kept until it is done; only those of people who are
erased meanwhile are missing from it, as they should be.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import shutil
import sqlite3
import subprocess
import tarfile
import tempfile
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, cast

import pyrage
from django.conf import settings
from django.core.files.storage import default_storage
from django.db import DatabaseError, connection, transaction
from django.utils import timezone

from portal import __version__
from portal.events import picture_files
from portal.models import Violation, ViolationGlimpse
from portal.server.upgrade import latest_migrations
from portal.server.variables import SHORTEST_PASSPHRASE

log = logging.getLogger(__name__)

HOLD_EVERY = 200  # pictures
KEPT_FILES = ("secret-key", "metrics-token.txt", "demo-login.txt")
KEPT_FOLDERS = ("keys", "certificates", "clips")
BLOCK = tarfile.BLOCKSIZE


class BackupError(Exception):
    """It cannot be made or restored; the text says why and what to do."""


@dataclass
class Contents:
    """What a backup holds.

    Args:
        hashes: SHA-256 of each member, by its name.
        missing: pictures that rows name and that are gone: their people were erased meanwhile.
    """

    version: str
    engine: str
    made_at: str
    migrations: dict[str, str]
    hashes: dict[str, str] = field(default_factory=dict)
    missing: int = 0

    @property
    def pictures(self) -> int:
        return sum(name.startswith("pictures/") for name in self.hashes)

    def encode(self) -> bytes:
        return json.dumps(vars(self), indent=1).encode()


# -- to a file --------------------------------------------------------------------------------------------------------


def make(path: Path, passphrase: str) -> Contents:
    """Write a backup; it appears under its name only when it is complete. Raises BackupError."""
    check_passphrase(passphrase)
    partial = path.with_name(f".{path.name}.partial")
    try:
        with _created(partial) as target, _held_pictures():
            identity = pyrage.x25519.Identity.generate()
            _add(target, "key.age", pyrage.passphrase.encrypt(str(identity).encode(), passphrase))
            manifest = _seal(target, identity, path.parent)
            target.write(bytes(2 * BLOCK))  # how a tar ends
            target.flush()
            os.fsync(target.fileno())
        partial.replace(path)
        return manifest
    except (OSError, DatabaseError, subprocess.SubprocessError) as error:
        raise BackupError(f"The backup could not be written: {_reason(error)}. Nothing was changed.") from error
    finally:
        with suppress(OSError):
            partial.unlink(missing_ok=True)


def check_passphrase(passphrase: str) -> None:
    if len(passphrase) < SHORTEST_PASSPHRASE:
        raise BackupError(
            f"A backup needs a passphrase of at least {SHORTEST_PASSPHRASE} letters: set BACKUP_PASSPHRASE, or name a "
            "file with --passphrase-file. Without it nobody can restore the backup, so keep it elsewhere, too."
        )


@contextmanager
def _created(path: Path) -> Iterator[IO[bytes]]:
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "wb+") as file:
        yield file


@contextmanager
def _held_pictures() -> Iterator[None]:
    picture_files.hold()
    try:
        yield
    finally:
        picture_files.let_go()


def _add(target: IO[bytes], name: str, content: bytes) -> None:
    target.write(_header(name, len(content)) + content + bytes(-len(content) % BLOCK))


def _header(name: str, size: int) -> bytes:
    info = tarfile.TarInfo(name)
    info.size, info.mode, info.mtime = size, 0o600, int(timezone.now().timestamp())
    return info.tobuf(tarfile.GNU_FORMAT)


def _seal(target: IO[bytes], identity: pyrage.x25519.Identity, folder: Path) -> Contents:
    """Write the content as it is made; its size is known only afterwards, so its header is written once more."""
    begins_at = target.tell()
    target.write(_header("content.age", 0))
    with piped(lambda writer: _write_content(writer, folder)) as (reader, result):
        pyrage.encrypt_io(reader, target, [identity.to_public()])
    size = target.tell() - begins_at - BLOCK
    target.write(bytes(-size % BLOCK))
    ends_at = target.tell()
    target.seek(begins_at)
    target.write(_header("content.age", size))
    target.seek(ends_at)
    return cast("Contents", result[0])


@contextmanager
def piped(work: Callable[[IO[bytes]], object]) -> Iterator[tuple[IO[bytes], list[object]]]:
    """What `work` writes, in a thread of its own, can be read here; what it raised is raised here at the end."""
    read, write = os.pipe()
    result: list[object] = []
    failures: list[BaseException] = []

    def run() -> None:
        try:
            with os.fdopen(write, "wb") as writer:
                result.append(work(writer))
        except BaseException as error:
            failures.append(error)
        finally:
            connection.close()

    thread = threading.Thread(target=run, name="backup", daemon=True)
    thread.start()
    try:
        with os.fdopen(read, "rb") as reader:
            yield reader, result
    except BaseException:
        thread.join()
        if failures and not isinstance(failures[0], BrokenPipeError):
            raise failures[0] from None
        raise
    thread.join()
    if failures:
        raise failures[0]


def _write_content(writer: IO[bytes], folder: Path) -> Contents:
    moment = datetime.now(UTC).isoformat(timespec="seconds")
    manifest = Contents(__version__, connection.vendor, moment, latest_migrations())
    with tarfile.open(fileobj=writer, mode="w|", format=tarfile.GNU_FORMAT) as tar:
        with _database(folder) as (name, file, pictures):
            _put(tar, manifest, name, file)
            _put_pictures(tar, manifest, pictures)
        for path, member in _kept_files():
            with path.open("rb") as kept:
                _put(tar, manifest, member, kept)
        content = manifest.encode()
        info = tarfile.TarInfo("manifest.json")
        info.size, info.mode = len(content), 0o600
        with tempfile.TemporaryFile() as scratch:
            scratch.write(content)
            scratch.seek(0)
            tar.addfile(info, scratch)
    return manifest


def _put(tar: tarfile.TarFile, manifest: Contents, name: str, file: IO[bytes]) -> None:
    info = tarfile.TarInfo(name)
    info.size, info.mode = file.seek(0, os.SEEK_END), 0o600
    file.seek(0)
    hashed = _Hashed(file)
    tar.addfile(info, cast("IO[bytes]", hashed))
    manifest.hashes[name] = hashed.digest.hexdigest()


class _Hashed:
    """A file that is hashed as it is read."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self.digest = hashlib.sha256()

    def read(self, size: int = -1) -> bytes:
        data = self._file.read(size)
        self.digest.update(data)
        return data


def _put_pictures(tar: tarfile.TarFile, manifest: Contents, names: Iterable[str]) -> None:
    for number, name in enumerate(names):
        if number % HOLD_EVERY == 0:
            picture_files.hold()
        try:
            with default_storage.open(name, "rb") as picture:
                _put(tar, manifest, f"pictures/{name}", cast("IO[bytes]", picture))
        except FileNotFoundError:
            manifest.missing += 1


def _kept_files() -> Iterator[tuple[Path, str]]:
    root = Path(settings.DATA_DIR)
    for name in KEPT_FILES:
        if (root / name).is_file():
            yield root / name, name
    for folder in KEPT_FOLDERS:
        for path in sorted((root / folder).rglob("*")):
            if path.is_file() and not path.is_symlink():
                yield path, str(path.relative_to(root))


@contextmanager
def _database(folder: Path) -> Iterator[tuple[str, IO[bytes], Iterable[str]]]:
    """All rows at one moment, as a file, and the pictures that they name."""
    scratch = Path(tempfile.mkdtemp(prefix=".masks-", dir=folder))
    try:
        if connection.vendor == "sqlite":
            path = scratch / "database.sqlite3"
            with connection.cursor() as cursor:
                cursor.execute("VACUUM INTO %s", [str(path)])
            with closing(sqlite3.connect(path)) as copy, path.open("rb") as file:
                yield path.name, file, _names(copy)
        else:
            path = scratch / "database.dump"
            with transaction.atomic(), connection.cursor() as cursor:
                cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
                cursor.execute("SELECT pg_export_snapshot()")
                _dump(path, str(cursor.fetchone()[0]))
                with path.open("rb") as file:
                    yield path.name, file, picture_files.all_names()
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _names(copy: sqlite3.Connection) -> Iterator[str]:
    for column, model in (("snapshot", Violation), ("picture", ViolationGlimpse)):
        table = model._meta.db_table
        for (name,) in copy.execute(f"SELECT {column} FROM {table} WHERE {column} <> ''"):  # noqa: S608 - our tables
            yield name


def _dump(path: Path, snapshot: str) -> None:
    run_postgres("pg_dump", "--format=custom", "--no-owner", f"--snapshot={snapshot}", f"--file={path}")


def run_postgres(program: str, *arguments: str) -> None:
    """One of PostgreSQL's own programs, on this installation's database."""
    found = shutil.which(program)
    if found is None:
        raise BackupError(f"{program} is missing on this machine. Install PostgreSQL's client (postgresql-client).")
    config = connection.settings_dict
    given = {"PGHOST": config["HOST"], "PGPORT": config["PORT"], "PGUSER": config["USER"], "PGDATABASE": config["NAME"]}
    environment = {name: str(value) for name, value in given.items() if value} | {"PGPASSWORD": config["PASSWORD"]}
    done = subprocess.run(  # noqa: S603
        [found, *arguments], env=os.environ | environment, stdin=subprocess.DEVNULL, capture_output=True, check=False
    )
    if done.returncode:
        last = done.stderr.decode(errors="replace").strip().splitlines()[-1:] or ["no reason given"]
        raise BackupError(f"{program} failed: {last[0]}")


def _reason(error: Exception) -> str:
    return str(getattr(error, "strerror", "") or str(error).splitlines()[0] or type(error).__name__)
