"""Whether this version of the portal can open the data that it finds: an older one cannot open a newer one's."""

from __future__ import annotations

import pkgutil
from pathlib import Path

from django.apps import apps
from django.db import connection
from django.db.migrations.recorder import MigrationRecorder

OURS = ("cameras", "portal")


def known_migrations() -> set[tuple[str, str]]:
    """All migrations of this version, as pairs of an app and a name. None is loaded: that takes a second."""
    return {
        (config.label, module.name)
        for config in apps.get_app_configs()
        for module in pkgutil.iter_modules([str(Path(config.path) / "migrations")])
    }


def is_up_to_date() -> bool:
    """Whether the database has every migration of every app."""
    return known_migrations() <= set(MigrationRecorder(connection).applied_migrations())


def latest_migrations() -> dict[str, str]:
    """The last migration of each of our apps that the database has."""
    applied = MigrationRecorder(connection).applied_migrations()
    return {app: max(name for its, name in applied if its == app) for app in OURS if any(a == app for a, _n in applied)}


def made_by_a_newer_version() -> list[str]:
    """The migrations of our apps that the database has and this version does not know; empty if all is well."""
    applied = MigrationRecorder(connection).applied_migrations()
    return sorted(f"{app}.{name}" for app, name in set(applied) - known_migrations() if app in OURS)
