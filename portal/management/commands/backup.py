"""manage.py backup FILE: the whole installation in one sealed file, while it runs (portal/server/backup.py)."""

from __future__ import annotations

import getpass
import sys
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser

from portal.server import backup


def passphrase_of(options: dict[str, Any], *, again: bool) -> str:
    """From a file, from BACKUP_PASSPHRASE, or typed; raises CommandError."""
    if options["passphrase_file"]:
        try:
            return Path(options["passphrase_file"]).read_text().strip()
        except OSError as error:
            raise CommandError(f"{options['passphrase_file']} cannot be read ({error.strerror}).") from error
    if settings.BACKUP_PASSPHRASE or not sys.stdin.isatty():
        return str(settings.BACKUP_PASSPHRASE)
    typed = getpass.getpass("Passphrase of the backup: ")
    if again and getpass.getpass("Once more: ") != typed:
        raise CommandError("The two differ. Try again.")
    return typed


class Command(BaseCommand):
    help = "Write the database, pictures, clips and keys into one file, sealed by a passphrase, while the portal runs."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("file", type=Path)
        parser.add_argument("--passphrase-file", help="instead of BACKUP_PASSPHRASE")

    def handle(self, *args: Any, **options: Any) -> None:
        path: Path = options["file"]
        if path.exists():
            raise CommandError(f"{path} is there already. Name another file.")
        try:
            made = backup.make(path, passphrase_of(options, again=True))
        except backup.BackupError as error:
            raise CommandError(str(error)) from error
        megabytes = path.stat().st_size / 1e6
        self.stdout.write(f"{path}: {megabytes:.1f} MB, the database and {made.pictures} pictures of {made.made_at}.")
        if made.missing:
            self.stdout.write(f"{made.missing} pictures are missing: their people were erased meanwhile.")
