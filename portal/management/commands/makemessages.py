"""Django's makemessages for this project: every language, one catalogue for all packages, and the makes' notes.

python manage.py makemessages && python manage.py compilemessages      (make words)
"""

from __future__ import annotations

import os
import tomllib
from functools import cached_property
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.commands import makemessages

PACKAGES = ("portal", "cameras", "detection")


class TomlNotes(makemessages.BuildFile):
    """A file of a make: its note is a sentence that people read."""

    @cached_property
    def is_templatized(self) -> bool:
        return not self.path.endswith(".py")

    def preprocess(self) -> None:
        if not self.path.endswith(".toml"):
            super().preprocess()
            return
        note = tomllib.loads(Path(self.path).read_text(encoding="utf-8")).get("note", "")
        Path(self.work_path).write_text(f"_({note!r})\n" if note else "", encoding="utf-8")


class Command(makemessages.Command):
    help = __doc__
    build_file_class = TomlNotes

    def handle(self, *args: Any, **options: Any) -> None:
        ours = [language.replace("zh-hans", "zh_Hans") for language, _name in settings.LANGUAGES if language != "en"]
        options |= {
            "locale": options["locale"] or ours,
            "extensions": ["html", "txt", "py", "toml"],
            "ignore_patterns": [*options["ignore_patterns"], "*/migrations/*"],
            "no_wrap": True,
            "add_location": "file",
            "no_obsolete": True,
        }
        super().handle(*args, **options)

    def find_files(self, root: str) -> list[Any]:
        found: list[Any] = []
        for package in PACKAGES:
            found += super().find_files(os.path.join(root, package))
        return found
