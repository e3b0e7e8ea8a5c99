"""What the operator sets by environment variables, read once and checked with a sentence of what to do.

Worked example::

    DATA_DIR=/srv/mask-portal  PUBLIC_URL=https://masks.example.org  make run

reads as ``settings.DATA_DIR == Path("/srv/mask-portal")`` and allows the host ``masks.example.org``.
"""

from __future__ import annotations

import ipaddress
import os
import secrets
from pathlib import Path
from urllib.parse import quote, urlsplit

import environ
from django.core.exceptions import ImproperlyConfigured

from portal.server import certificates

_env = environ.Env()
EVERYWHERE = ("0.0.0.0", "::")  # noqa: S104 - compared, not bound


class SettingError(ImproperlyConfigured):
    """An environment variable holds what cannot be used; the text says which one and what to write instead."""


def text(name: str, default: str = "") -> str:
    """The variable's text; set but empty counts as not set (make exports all of them)."""
    return os.environ.get(name, "").strip() or default


def flag(name: str, *, default: bool) -> bool:
    value = text(name).lower()
    if not value:
        return default
    if value in {"1", "true", "yes", "on"}:
        return True
    if value in {"0", "false", "no", "off"}:
        return False
    raise SettingError(f"{name}={value} is neither on nor off. Write {name}=1 or {name}=0.")


def choice(name: str, choices: tuple[str, ...]) -> str:
    """One of a few words; the first is what counts when nothing is set."""
    value = text(name, choices[0])
    if value not in choices:
        raise SettingError(f"{name}={value} is not known. Write {', '.join(choices[:-1])} or {choices[-1]}.")
    return value


def number(name: str, *, default: float, least: float, most: float, unit: str) -> float:
    """A number in a stated unit, from `least` to `most` inclusive."""
    raw = text(name)
    if not raw:
        return default
    try:
        value = float(raw)
    except ValueError:
        value = float("nan")
    if not least <= value <= most:
        raise SettingError(f"{name}={raw} cannot be used. Write {unit} from {least:g} to {most:g}.")
    return value


def names(name: str) -> list[str]:
    """A list written with commas."""
    return [part.strip() for part in text(name).split(",") if part.strip()]


def networks(name: str) -> list[str]:
    """Networks like 10.0.0.0/8, written with commas."""
    for text_ in names(name):
        try:
            ipaddress.ip_network(text_, strict=False)
        except ValueError as error:
            raise SettingError(f"{name} holds {text_}, which is no network. Write one like 127.0.0.0/8.") from error
    return names(name)


def data_dir(root: Path) -> Path:
    """The folder of all that is kept, made with 0700 where there is none."""
    path = Path(text("DATA_DIR", str(root / "var"))).expanduser().resolve()
    try:
        path.mkdir(parents=True, exist_ok=True, mode=0o700)
    except OSError as error:
        raise SettingError(f"DATA_DIR={path} cannot be made ({error.strerror}). Name a folder that you own.") from error
    return path


def secret_key(folder: Path) -> str:
    """SECRET_KEY, or the one that was made into DATA_DIR at the first start."""
    if given := text("SECRET_KEY"):
        return given
    path = folder / "secret-key"
    if not path.exists():
        private_file(path, secrets.token_urlsafe(48))
    return path.read_text().strip()


def private_file(path: Path, content: str) -> None:
    """Write a file that only its owner reads (0600); at no moment does it exist half written or wider open."""
    scratch = path.with_name(f".{path.name}.{os.getpid()}")
    descriptor = os.open(scratch, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    scratch.replace(path)


def redis_url(folder: Path) -> str:
    """REDIS_URL, or the embedded Valkey's address, which the supervisor notes in DATA_DIR."""
    if given := text("REDIS_URL"):
        if urlsplit(given).scheme not in {"redis", "rediss", "unix"}:
            raise SettingError("REDIS_URL must begin with redis://, rediss:// or unix://.")
        return given
    note = folder / "valkey-url"
    return note.read_text().strip() if note.exists() else "redis://127.0.0.1:6379/0"


def celery_broker_url(url: str) -> str:
    """Celery's spelling of a Redis address.

    >>> celery_broker_url("unix://:pw@/run/v.sock?db=0")
    'redis+socket://:pw@/run/v.sock?virtual_host=0'
    """
    parts = urlsplit(url)
    if parts.scheme != "unix":
        return url
    password = f":{quote(parts.password or '', safe='')}@" if parts.password else ""
    return f"redis+socket://{password}{parts.path}?virtual_host=0"


def database(folder: Path) -> dict[str, object]:
    """Django's DATABASES entry: PostgreSQL by DATABASE_URL, else SQLite in DATA_DIR."""
    url = text("DATABASE_URL")
    try:
        config = dict(_env.db_url_config(url or f"sqlite:///{folder / 'portal.sqlite3'}"))
    except Exception as error:
        raise SettingError("DATABASE_URL cannot be read. Write postgres://user:password@host:5432/name.") from error
    if "sqlite" in str(config["ENGINE"]):
        # IMMEDIATE: a transaction that reads and then writes would else fail at once when another one writes.
        config["OPTIONS"] = {
            "transaction_mode": "IMMEDIATE",
            "timeout": 20,
            "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL; PRAGMA foreign_keys=ON;",
        }
        config["TEST"] = {"NAME": str(folder / "test.sqlite3")}  # in memory, threads would lock each other out
    elif "postgresql" in str(config["ENGINE"]):
        config["OPTIONS"] = {
            "connect_timeout": 5
        }  # and no CONN_MAX_AGE: under ASGI each request has a thread of its own
    else:
        raise SettingError("DATABASE_URL must begin with postgres:// or sqlite:///.")
    return config


def email(url: str) -> dict[str, object]:
    """Django's e-mail settings from EMAIL_URL (smtp+tls://user:password@host:587, consolemail://, filemail:///folder)."""
    try:
        return dict(_env.email_url_config(url))
    except Exception as error:
        raise SettingError("EMAIL_URL cannot be read. Write smtp+tls://user:password@host:587.") from error


def base_url(bind: str, port: int, *, https: bool) -> str:
    """Where the portal is reached from its own network."""
    host = bind
    if bind in EVERYWHERE:
        others = [str(ip) for ip in certificates.machine_addresses() if not ip.is_loopback] if https else []
        host = others[0] if others else "127.0.0.1"
    return f"{'https' if https else 'http'}://{f'[{host}]' if ':' in host else host}:{port}"


def allowed_hosts(bind: str, public_url: str) -> list[str]:
    """Loopback, and ALLOWED_HOSTS; without it the address bound to (all of this machine's), and PUBLIC_URL's host."""
    hosts = ["localhost", "127.0.0.1", "[::1]"]  # always: the supervisor asks there whether all is well
    if given := names("ALLOWED_HOSTS"):
        return [*hosts, *given]
    if bind in EVERYWHERE:
        hosts += certificates.machine_names()[1:]
        hosts += [f"[{ip}]" if ip.version == 6 else str(ip) for ip in certificates.machine_addresses()[2:]]
    elif bind not in {"127.0.0.1", "localhost", "::1"}:
        hosts.append(bind)
    if public_url:
        parts = urlsplit(public_url)
        if parts.scheme not in {"http", "https"} or not parts.hostname:
            raise SettingError(f"PUBLIC_URL={public_url} is not an address. Write https://masks.example.org.")
        hosts.append(parts.hostname)
    return hosts
