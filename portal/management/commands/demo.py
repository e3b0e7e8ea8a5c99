"""manage.py demo: fill the demo with much of everything, to look at the pages as a large customer sees them."""

from __future__ import annotations

import secrets
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from cameras.errors import CameraError
from portal.demo.fill import Amount, FillError, fill


class Command(BaseCommand):
    help = "Add sites, cameras and weeks of made-up people to the demo."

    def add_arguments(self, parser: CommandParser) -> None:
        usual = Amount()
        parser.add_argument("--sites", type=int, default=usual.sites, help=f"({usual.sites})")
        parser.add_argument("--cameras", type=int, default=usual.cameras, help=f"({usual.cameras})")
        parser.add_argument("--violations", type=int, default=usual.violations, help=f"to review ({usual.violations})")
        parser.add_argument("--days", type=int, default=usual.days, help=f"that they are spread over ({usual.days})")
        parser.add_argument("--seed", type=int, help="of who came when (drawn anew)")

    def handle(self, *args: Any, **options: Any) -> None:
        given = {name: options[name] for name in ("sites", "cameras", "violations", "days")}
        if min(given.values()) < 1:
            raise CommandError("Sites, cameras, violations and days are each 1 or more.")
        seed = secrets.randbelow(2**31) if options["seed"] is None else options["seed"]
        self.stdout.write(f"seed {seed}")
        try:
            fill(Amount(**given), seed, self.stdout.write)
        except (FillError, CameraError) as error:
            raise CommandError(str(error)) from error
