"""What Django needs from the operator's environment variables (variables.py); errors say what to do.

Worked example::

    DATA_DIR=/srv/mask-portal  PUBLIC_URL=https://masks.example.org  make run

reads as ``settings.DATA_DIR == Path("/srv/mask-portal")`` and allows the host ``masks.example.org``.
"""

from __future__ import annotations

import ipaddress
import os
import secrets
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import quote, urlsplit

import environ

from portal.alerts.mqtt import broker
from portal.server import certificates, variables
from portal.server.variables import SettingError

_env = environ.Env()
EVERYWHERE = ("0.0.0.0", "::")  # noqa: S104 - compared, not bound


def networks(name: str) -> list[str]:
    """Networks like 10.0.0.0/8, separated by commas."""
    for network in variables.names(name):
        try:
            ipaddress.ip_network(network, strict=False)
        except ValueError as error:
            raise SettingError(f"{name} holds {network}, not a network. Write one like 127.0.0.0/8.") from error
    return variables.names(name)


def local_cameras(demo_clips: Sequence[str]) -> list[tuple[str, str]]:
    """LOCAL_CAMERAS as pairs of a site and a source; the demo's own clips, which show nobody, belong to every site."""
    pairs = [("*", clip) for clip in demo_clips]
    for entry in variables.names("LOCAL_CAMERAS"):
        site, colon, source = entry.partition(":")
        if not colon or not source or not (site == "*" or site.isdecimal()):
            raise SettingError(f"LOCAL_CAMERAS holds {entry}. Write a site's number and a source, like 3:/dev/video0.")
        pairs.append((site, source))
    return pairs


def data_dir(root: Path) -> Path:
    """The folder for all stored data, created with 0700 if it does not exist."""
    path = Path(variables.read("DATA_DIR") or root / "var").expanduser().resolve()
    try:
        path.mkdir(parents=True, exist_ok=True, mode=0o700)
    except OSError as error:
        raise SettingError(f"DATA_DIR={path} cannot be made ({error.strerror}). Name a folder that you own.") from error
    return path


def secret_key(folder: Path) -> str:
    """SECRET_KEY, or the one that was generated in DATA_DIR at the first start."""
    if given := variables.read("SECRET_KEY"):
        return given
    path = folder / "secret-key"
    if not path.exists():
        private_file(path, secrets.token_urlsafe(48))
    return path.read_text().strip()


def private_file(path: Path, content: str) -> None:
    """Write a file that only its owner can read (0600); it is never half written, nor open to others."""
    scratch = path.with_name(f".{path.name}.{os.getpid()}")
    descriptor = os.open(scratch, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    scratch.replace(path)


def redis_url(folder: Path) -> str:
    """REDIS_URL, or the embedded Valkey's address, which the supervisor writes to DATA_DIR."""
    if given := variables.read("REDIS_URL"):
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
    """Django's DATABASES entry: PostgreSQL from DATABASE_URL, otherwise SQLite in DATA_DIR."""
    url = variables.read("DATABASE_URL")
    try:
        config = dict(_env.db_url_config(url or f"sqlite:///{folder / 'portal.sqlite3'}"))
    except Exception as error:
        raise SettingError("DATABASE_URL cannot be read. Write postgres://user:password@host:5432/name.") from error
    if "sqlite" in str(config["ENGINE"]):
        # IMMEDIATE: otherwise a transaction that reads and then writes would fail at once when another one writes.
        config["OPTIONS"] = {
            "transaction_mode": "IMMEDIATE",
            "timeout": 20,
            "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL; PRAGMA foreign_keys=ON;",
        }
        config["TEST"] = {"NAME": str(folder / "test.sqlite3")}  # in memory, threads would lock each other out
    elif "postgresql" in str(config["ENGINE"]):
        # A cut line is noticed within 15 s. And no CONN_MAX_AGE: under ASGI each request has a thread of its own.
        config["OPTIONS"] = {
            "connect_timeout": 5,
            "keepalives_idle": 5,
            "keepalives_interval": 3,
            "keepalives_count": 3,
            "tcp_user_timeout": 15_000,
        }
    else:
        raise SettingError("DATABASE_URL must begin with postgres:// or sqlite:///.")
    return config


def backups() -> tuple[str, str, int]:
    """BACKUP_DIR, BACKUP_PASSPHRASE and BACKUP_KEEP."""
    place, passphrase = variables.read("BACKUP_DIR"), variables.read("BACKUP_PASSPHRASE")
    if place and len(passphrase) < variables.SHORTEST_PASSPHRASE:
        raise SettingError(
            f"BACKUP_DIR needs BACKUP_PASSPHRASE, too. Write one of at least {variables.SHORTEST_PASSPHRASE} letters."
        )
    return place, passphrase, int(variables.number("BACKUP_KEEP", least=1, most=1000, unit="a number of backups"))


def pictures(folder: Path) -> dict[str, object]:
    """Django's storage of pictures: PICTURES, a folder or a bucket of S3, or the folder given.

    Pictures have no address: they are served only by portal/people/pictures.py.
    """
    place = variables.read("PICTURES")
    if place.startswith(("s3://", "s3+http://")):
        from portal.server import picture_store  # a large package, which is not needed otherwise

        try:
            options = picture_store.options(place)
        except ValueError as error:
            raise SettingError(f"PICTURES is {error}. Write s3://KEY:SECRET@HOST/BUCKET.") from error
        return {"BACKEND": "portal.server.picture_store.BucketStorage", "OPTIONS": options}
    if place and not Path(place).is_absolute():
        raise SettingError(f"PICTURES={place} is no whole path. Write /mnt/pictures, or s3://KEY:SECRET@HOST/BUCKET.")
    modes = {"file_permissions_mode": 0o600, "directory_permissions_mode": 0o700}
    options = {"location": place or str(folder), "base_url": None, **modes}
    return {"BACKEND": "django.core.files.storage.FileSystemStorage", "OPTIONS": options}


def worker_name() -> str:
    """WORKER_NAME; those of workers at sites cannot be taken by others."""
    name = variables.read("WORKER_NAME")
    if ":" in name or " " in name:
        raise SettingError(f"WORKER_NAME={name} has a colon or a space in it. Write one word, like north-2.")
    return name


def portal_elsewhere() -> tuple[str, str, str]:
    """PORTAL, KEY and PORTAL_AUTHORITY, of a worker at a site; empty for a portal of its own."""
    address, key = variables.read("PORTAL").rstrip("/"), variables.read("KEY")
    authority = variables.read("PORTAL_AUTHORITY")
    if not address:
        return "", "", ""
    parts = urlsplit(address)
    is_here = parts.hostname in {"localhost", "127.0.0.1", "::1"}
    if not parts.hostname or not (parts.scheme == "https" or (parts.scheme == "http" and is_here)):
        raise SettingError(f"PORTAL={address} cannot be used. Write https:// and the portal's name.")
    if not key:
        raise SettingError("PORTAL needs KEY, too. A manager makes one on the page “Workers” of the site.")
    if authority and not Path(authority).is_file():
        raise SettingError(f"PORTAL_AUTHORITY={authority} is no file. Get it from the portal, at /connect/.")
    return address, key, authority


def email(url: str) -> dict[str, object]:
    """Django's e-mail settings from EMAIL_URL (smtp+tls://user:password@host:587, consolemail://, filemail:///folder)."""
    try:
        return dict(_env.email_url_config(url))
    except Exception as error:
        raise SettingError("EMAIL_URL cannot be read. Write smtp+tls://user:password@host:587.") from error


def mqtt(url: str) -> str:
    """MQTT_URL, checked; empty stays empty."""
    if url:
        try:
            broker.parse(url)
        except ValueError as error:
            raise SettingError(f"MQTT_URL cannot be used. {error}") from error
    return url


def base_url(bind: str, port: int, *, https: bool) -> str:
    """The address of the portal on its own network."""
    host = bind
    if bind in EVERYWHERE:
        others = [str(ip) for ip in certificates.machine_addresses() if not ip.is_loopback] if https else []
        host = others[0] if others else "127.0.0.1"
    return _address(host, port, https)


def _address(host: str, port: int, https: bool) -> str:
    return f"{'https' if https else 'http'}://{f'[{host}]' if ':' in host else host}:{port}"


def reachable(bind: str, port: int, public_url: str, *, https: bool) -> list[str]:
    """The addresses by which other devices reach the portal; none if it listens on its own machine only."""
    if public_url:
        return [public_url]
    hosts = [bind]
    if bind in EVERYWHERE:
        hosts = [str(ip) for ip in certificates.machine_addresses() if not ip.is_loopback]
    elif bind == "localhost" or bind.startswith("127.") or bind == "::1":
        return []
    return [_address(host, port, https) for host in hosts]


def allowed_hosts(bind: str, public_url: str) -> list[str]:
    """Loopback, and ALLOWED_HOSTS; without it the bound address (or all of this machine's), and PUBLIC_URL's host."""
    hosts = ["localhost", "127.0.0.1", "[::1]"]  # always: the supervisor asks there whether all is well
    if given := variables.names("ALLOWED_HOSTS"):
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
