"""From a backup (backup.py) to an installation, which must be empty and must not run.

    restore(Path("/mnt/masks.backup"), passphrase)

All is unpacked and checked beside the data first, so that a damaged backup or a wrong passphrase changes nothing.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import logging
import os
import shutil
import tarfile
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import pyrage
from django.conf import settings
from django.core.files import File
from django.core.files.storage import default_storage
from django.core.management import call_command
from django.db import connection

from portal import __version__
from portal.server.backup import BackupError, Contents, piped, run_postgres
from portal.server.upgrade import known_migrations

log = logging.getLogger(__name__)


def restore(path: Path, passphrase: str) -> Contents:
    """Put a backup into this installation, which must be empty and not run; nothing changes unless all is well.

    Raises BackupError.
    """
    root = Path(settings.DATA_DIR)
    with _not_running(root):
        check_empty()
        staging = Path(tempfile.mkdtemp(prefix=".restoring-", dir=root))
        try:
            manifest = _unpack(path, passphrase, staging)
            _check(manifest, staging)
            _install(manifest, staging, root)
        except (OSError, tarfile.TarError, ValueError, KeyError, pyrage.DecryptError) as error:
            raise BackupError(f"{path.name} is damaged, or no backup of ours. Take another one.") from error
        finally:
            shutil.rmtree(staging, ignore_errors=True)
    call_command("migrate", interactive=False, verbosity=0)
    return manifest


@contextmanager
def _not_running(root: Path) -> Iterator[None]:
    with (root / "run.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise BackupError("The portal runs on this DATA_DIR. Stop it, then restore.") from error
        yield


def check_empty() -> None:
    """Raise BackupError if there is anything that a restored backup would replace."""
    tables = connection.introspection.table_names()
    for table in ("portal_user", "cameras_site"):
        if table not in tables:
            continue
        with connection.cursor() as cursor:
            cursor.execute(f"SELECT 1 FROM {table} LIMIT 1")  # noqa: S608 - our own table
            if cursor.fetchone():
                raise BackupError(
                    "This installation holds data already, and a restored backup would replace it. Name an empty "
                    "DATA_DIR (and an empty database, if DATABASE_URL is set)."
                )


def _unpack(path: Path, passphrase: str, staging: Path) -> Contents:
    """Its members, into a folder; raises BackupError for a wrong passphrase."""
    try:
        outer = tarfile.open(path, "r:")  # noqa: SIM115 - closed below
    except FileNotFoundError as error:
        raise BackupError(f"There is no {path}.") from error
    with outer:
        key, content = outer.extractfile("key.age"), outer.extractfile("content.age")
        if key is None or content is None:
            raise ValueError("not a backup")
        try:
            identity = pyrage.x25519.Identity.from_str(pyrage.passphrase.decrypt(key.read(), passphrase).decode())
        except pyrage.DecryptError as error:
            raise BackupError("This is not the passphrase of that backup.") from error

        def decrypt(writer: IO[bytes]) -> None:
            pyrage.decrypt_io(content, writer, [identity])

        with piped(decrypt) as (reader, _result):
            with tarfile.open(fileobj=reader, mode="r|") as tar:
                tar.extractall(staging, filter="data")
            while reader.read(1 << 20):  # to its end, so that nothing is missing there either
                pass
    return Contents(**json.loads((staging / "manifest.json").read_bytes()))


def _check(manifest: Contents, staging: Path) -> None:
    """Raise BackupError if it was made by a newer portal, or for another database; ValueError if it is not whole."""
    if unknown := sorted(set(manifest.migrations.items()) - known_migrations()):
        log.error("the backup has %s", unknown)
        raise BackupError(
            f"This backup was made by version {manifest.version}, which is newer than this one ({__version__}). "
            "Install that version, or a later one."
        )
    if manifest.engine != connection.vendor:
        raise BackupError(
            f"This backup is of a portal on {manifest.engine}; this one uses {connection.vendor}. Set DATABASE_URL "
            "to a database of that kind."
        )
    for name, wanted in manifest.hashes.items():
        with (staging / name).open("rb") as file:
            if hashlib.file_digest(file, "sha256").hexdigest() != wanted:
                raise ValueError(name)


def _install(manifest: Contents, staging: Path, root: Path) -> None:
    """First what rows need, then the rows."""
    for name in manifest.hashes:
        if name.startswith("pictures/"):
            with (staging / name).open("rb") as picture:
                stored = default_storage.save(name.removeprefix("pictures/"), File(picture))
            if stored != name.removeprefix("pictures/"):
                raise BackupError("The store of pictures is not empty. Empty it, or name another DATA_DIR.")
        elif not name.startswith("database."):
            (root / name).parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            os.replace(staging / name, root / name)
    if connection.vendor == "sqlite":
        connection.close()
        path = Path(str(connection.settings_dict["NAME"]))
        for suffix in ("-wal", "-shm"):
            path.with_name(path.name + suffix).unlink(missing_ok=True)
        shutil.move(staging / "database.sqlite3", path)
        path.chmod(0o600)
    else:
        run_postgres(
            "pg_restore", "--clean", "--if-exists", "--no-owner", "--exit-on-error", "--single-transaction",
            f"--dbname={connection.settings_dict['NAME']}", str(staging / "database.dump"),
        )  # fmt: skip
