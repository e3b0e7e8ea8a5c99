"""`python manage.py export-dismissed DIR`: what reviewers dismissed, for whoever trains the detector."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from portal.events import dismissed


class Command(BaseCommand):
    help = "Write crops, boxes and reasons of all dismissed violations into an empty folder. Each site's log notes it."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("folder", type=Path, help="is made if it does not exist")

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            counts = dismissed.export(options["folder"])
        except OSError as error:
            raise CommandError(str(error)) from error
        for reason, count in sorted(counts.items()):
            self.stdout.write(f"{count:6} {reason}")
        self.stdout.write(
            f"{counts.total():6} in {options['folder']}. They show faces: delete them when they have served."
        )
