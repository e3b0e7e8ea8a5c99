"""The environment variables that an operator may set, each declared once, with its default and how it is checked.

Standard library only: the supervisor reads them too, and stays small. The README says what the settings are for.

    >>> read("PORT", {"PORT": "9000"})
    '9000'
    >>> read("PORT", {"PORT": " "})         # set but empty counts as not set
    '8000'
"""

from __future__ import annotations

import os
from collections.abc import Mapping

CAMERAS_PER_CORE = 8  # 720p, 15 frames a second, somebody in view all the time (docs/cameras.md)
DEFAULTS: dict[str, str] = {
    "PORT": "8000",
    "BIND": "127.0.0.1",
    "DATA_DIR": "",  # var, beside the code
    "DEMO": "1",
    "PUBLIC_URL": "",
    "ALLOWED_HOSTS": "",
    "DATABASE_URL": "",  # SQLite in DATA_DIR
    "REDIS_URL": "",  # the embedded Valkey
    "SECRET_KEY": "",  # generated once in DATA_DIR
    "EMAIL_URL": "",
    "DEFAULT_FROM_EMAIL": "Mask portal <portal@localhost>",
    "MQTT_URL": "",
    "PUSH_SERVICES": "",
    "METRICS_TOKEN": "",  # generated once in DATA_DIR
    "TRUSTED_PROXIES": "",
    "WORKER_NAME": os.uname().nodename.split(".")[0],
    "WORKER_CAPACITY": str(CAMERAS_PER_CORE * (os.cpu_count() or 1)),
    "WORKER_SITES": "",
    "PORTAL": "",  # a portal elsewhere, for a worker at a site
    "KEY": "",
    "PORTAL_AUTHORITY": "",  # the machine's own list of authorities
    "HTTPS": "0",
    "TRY": "everybody",
    "REQUIRE_TWO_FACTOR": "nobody",
    "CAMERA_NETWORKS": "",
    "LOCAL_CAMERAS": "",
    "LOG_LEVEL": "INFO",
    "FREE_DISK_FLOOR_MB": "500",
    "PICTURES": "",  # a folder in DATA_DIR
    "BACKUP_DIR": "",  # no backups by themselves
    "BACKUP_PASSPHRASE": "",
    "BACKUP_KEEP": "14",
    "LOG_FORMAT": "text",
    "LOG_FILE": "",  # the supervisor's, for each of its processes
    "BEAT_FILE": "",
}
OURS = frozenset({"LOG_FILE", "BEAT_FILE"})
SHORTEST_PASSPHRASE = 8
ON = frozenset({"1", "true", "yes", "on"})
OFF = frozenset({"0", "false", "no", "off"})


class SettingError(ValueError):
    """A variable has an unusable value; the text says which one, and what to write instead."""


def read(name: str, environment: Mapping[str, str] = os.environ) -> str:
    """The variable's text, or its default. Raises KeyError for a name that is not declared here."""
    return environment.get(name, "").strip() or DEFAULTS[name]


def flag(name: str) -> bool:
    value = read(name).lower()
    if value in ON | OFF:
        return value in ON
    raise SettingError(f"{name}={value} is neither on nor off. Write {name}=1 or {name}=0.")


def number(name: str, *, least: float, most: float, unit: str) -> float:
    """A number in a stated unit, from `least` to `most` inclusive."""
    raw = read(name)
    try:
        value = float(raw)
    except ValueError:
        value = float("nan")
    if not least <= value <= most:
        raise SettingError(f"{name}={raw} cannot be used. Write {unit} from {least:g} to {most:g}.")
    return value


def choice(name: str, choices: tuple[str, ...]) -> str:
    """One of a few words."""
    value = read(name)
    if value not in choices:
        raise SettingError(f"{name}={value} is not known. Write {', '.join(choices[:-1])} or {choices[-1]}.")
    return value


def names(name: str) -> list[str]:
    """A list separated by commas."""
    return [part.strip() for part in read(name).split(",") if part.strip()]


# The variables that both the supervisor and the settings need, checked in the same way.


def port() -> int:
    return int(number("PORT", least=1, most=65535, unit="a port number"))


def worker_capacity() -> int:
    """How many cameras this machine's stream worker watches at most; 0 if it has none."""
    return int(number("WORKER_CAPACITY", least=0, most=200, unit="a number of cameras"))
