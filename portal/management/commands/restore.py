"""manage.py restore FILE: a backup into an empty installation (portal/server/restore.py)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from portal.management.commands.backup import passphrase_of
from portal.server.backup import BackupError
from portal.server.restore import restore


class Command(BaseCommand):
    help = "Put a backup into this installation, which must be empty and must not run."
    requires_migrations_checks = False

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("file", type=Path)
        parser.add_argument("--passphrase-file", help="instead of BACKUP_PASSPHRASE")

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            found = restore(options["file"], passphrase_of(options, again=False))
        except BackupError as error:
            raise CommandError(str(error)) from error
        self.stdout.write(
            f"Restored what version {found.version} stored at {found.made_at}, with {found.pictures} pictures. "
            "Start the portal: make run"
        )
