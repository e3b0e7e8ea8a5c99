"""manage.py soak: faults at random moments for a while, and what is missing afterwards."""

from __future__ import annotations

import json
import secrets
from dataclasses import asdict
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from portal.server.soak import Soak


class Command(BaseCommand):
    help = "Disturb a portal of its own at random moments, and say what was lost, doubled or left open (nothing)."
    requires_system_checks = ()

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--minutes", type=float, default=10, help="for how long (10)")
        parser.add_argument("--seed", type=int, help="of faults and moments (drawn anew)")
        parser.add_argument("--cameras", type=int, default=4, help="that play the demo's clips by RTSP (4)")
        parser.add_argument("--workers", type=int, default=2, help="that share them (2)")
        parser.add_argument("--dashboards", type=int, default=1000, help="opened and closed meanwhile (1000)")
        parser.add_argument("--json", action="store_true", help="print one JSON object")

    def handle(self, *args: Any, **options: Any) -> None:
        if min(options["minutes"], options["cameras"], options["workers"]) <= 0:
            raise CommandError("Minutes, cameras and workers must be more than nothing.")
        seed = secrets.randbelow(2**31) if options["seed"] is None else options["seed"]
        say = (lambda line: None) if options["json"] else self.stdout.write
        say(f"seed {seed}")
        try:
            soak = Soak(options["minutes"], options["cameras"], options["workers"], seed, say)
            figures = soak.run(options["dashboards"])
        except OSError as error:
            raise CommandError(f"The soak cannot go on: {error}") from error
        if options["json"]:
            self.stdout.write(json.dumps(asdict(figures)))
        else:
            for name, value in asdict(figures).items():
                self.stdout.write(f"{name}: {value}")
        if not figures.is_clean:
            raise CommandError("Something was lost, doubled, left open, or not over in time.")
