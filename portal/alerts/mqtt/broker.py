"""The broker's address as an operator writes it.

    mqtts://user:password@broker.lan:8883/office?ca=/etc/ssl/own-ca.pem&cert=/etc/ssl/portal.pem&key=/etc/ssl/portal.key

The path is the first part of all topics, `facemask` if it is left out: two portals at one broker need two.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import parse_qs, unquote, urlsplit

PORTS = {"mqtt": 1883, "mqtts": 8883}
PREFIX = "facemask"
FILES = ("ca", "cert", "key")
LIKE = "MQTT_URL=mqtt://user:password@broker.lan"


@dataclass(frozen=True)
class Broker:
    """Where to connect, and as whom."""

    host: str
    port: int
    tls: bool
    user: str = ""
    password: str = ""
    prefix: str = PREFIX
    ca: str = ""
    cert: str = ""
    key: str = ""


def parse(url: str) -> Broker:
    """Read MQTT_URL; raises ValueError with a sentence that says what to write instead."""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port
    except ValueError as error:
        raise ValueError(f"The host or port cannot be read. Write {LIKE}.") from error
    if parts.scheme not in PORTS or not host:
        raise ValueError(f"It must begin with mqtt:// or mqtts:// and name a host. Write {LIKE}.")
    prefix = parts.path.strip("/") or PREFIX
    if not re.fullmatch(r"[\w.-]+(/[\w.-]+)*", prefix):
        raise ValueError("The path is the first part of all topics: letters, digits, . _ - and / alone.")
    given = {name: values[-1] for name, values in parse_qs(parts.query).items()}
    if unknown := set(given) - set(FILES):
        raise ValueError(f"{min(unknown)} is not known. After ? there may be ca, cert and key, the names of files.")
    if bool(given.get("cert")) != bool(given.get("key")):
        raise ValueError("A client's certificate needs both: cert and key.")
    if given and parts.scheme == "mqtt":
        raise ValueError("Certificates are used by mqtts:// alone.")
    return Broker(
        host, port or PORTS[parts.scheme], parts.scheme == "mqtts", unquote(parts.username or ""),
        unquote(parts.password or ""), prefix, *(given.get(name, "") for name in FILES),
    )  # fmt: skip
