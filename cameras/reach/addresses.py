"""The one place that decides what a camera's address may open, and opens connections to cameras.

Worked examples::

    rtsp://192.168.1.20/stream1        allowed: cameras are in private networks
    rtsp://2130706433/                 127.0.0.1 in another spelling: refused, like every loopback address
    http://[::ffff:169.254.169.254]/   link-local (a cloud's metadata service), IPv4 in IPv6: refused
    file:///etc/passwd                 not a camera's scheme: refused before anything is opened
    lobby.mp4                          (a clip) a file in DATA_DIR/clips; ``../secret-key`` and links out are refused

The address connected to is the one that was checked: a name is resolved once, each of its addresses is judged, and the
connection goes to one that passed. Names are not looked up again, so a name that changes in between (DNS rebinding)
gains nothing. `CAMERA_NETWORKS` allows networks that would otherwise be refused.
"""

from __future__ import annotations

import errno
import ipaddress
import os
import re
import select
import socket
import threading
import time
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import ClassVar
from urllib.parse import unquote, urlsplit

from django.conf import settings
from django.utils.translation import gettext as _

from cameras.errors import AddressError, StreamError

IpAddress = ipaddress.IPv4Address | ipaddress.IPv6Address

RESOLVE_S = 4.0
LATE_ANSWER_S = 60.0
MOST_QUESTIONS = 8  # about one host at a time: each waits in a thread
CONNECT_S = 5.0
TICK_S = 0.2  # how often a wait checks whether it should end
DEFAULT_PORTS = {"rtsp": 554, "http": 80, "https": 443}
MOST_CHARACTERS = 500
_NAT64 = ipaddress.ip_network("64:ff9b::/96")  # RFC 6052
# Services of clouds that tell a machine its secrets: Alibaba's, Amazon's over IPv6, Oracle's, Azure's.
_METADATA = frozenset(
    ipaddress.ip_address(text) for text in ("100.100.100.200", "fd00:ec2::254", "192.0.0.192", "168.63.129.16")
)
_SITE_LOCAL = ipaddress.ip_network("fec0::/10")  # deprecated by RFC 3879; some clouds' services are there
_VIDEO_DEVICE = re.compile(r"/dev/video\d{1,2}")


# -- files and devices ----------------------------------------------------------------------------------------------


def clips_folder() -> Path:
    """DATA_DIR/clips, created if it is missing."""
    folder = Path(settings.DATA_DIR) / "clips"
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    return folder


def clip_path(address: str) -> Path:
    """The file that a clip's address names; raises AddressError if it may not be opened or does not exist."""
    folder = clips_folder().resolve()
    try:
        path = (folder / address).resolve()
    except (OSError, ValueError) as error:
        raise AddressError(_("This is not a file name. Enter the name of a file in DATA_DIR/clips.")) from error
    if not address or "\0" in address or not path.is_relative_to(folder) or path == folder:
        raise AddressError(_("Clips are read from DATA_DIR/clips only. Put the file there and enter its name."))
    if not os.path.isfile(path):  # unlike Path.is_file, it does not raise for a name that is too long
        raise AddressError(_("There is no such clip. Put the file into DATA_DIR/clips."))
    return path


def device_path(address: str) -> str:
    """The video device on the worker's machine that this address names."""
    if not _VIDEO_DEVICE.fullmatch(address):
        raise AddressError(_("A USB camera's address is its device on the worker's machine, like /dev/video0."))
    return address


# -- the network ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class NetworkAddress:
    """A camera's address on the network, without its login.

    Args:
        target: path and query, as written; begins with "/".
    """

    scheme: str
    host: str
    port: int
    target: str

    @property
    def authority(self) -> str:
        """Host and port as they appear in a URL."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == DEFAULT_PORTS[self.scheme] else f"{host}:{self.port}"

    @property
    def url(self) -> str:
        return f"{self.scheme}://{self.authority}{self.target}"


def parse_address(address: str, schemes: tuple[str, ...], most: int = MOST_CHARACTERS) -> NetworkAddress:
    """Parse an address with one of these schemes and at most `most` characters; opens nothing.

    Raises AddressError, which says what to write instead.
    """
    like = f"{schemes[0]}://192.168.1.20/{'stream1' if schemes[0] == 'rtsp' else 'video.mjpg'}"
    if not address.strip():
        raise AddressError(_("Enter the camera's address, like %(like)s.") % {"like": like})
    if len(address) > most:
        raise AddressError(_("This address is too long: at most %(most)d characters.") % {"most": most})
    if any(character.isspace() or not character.isprintable() for character in address):
        raise AddressError(_("There is a space in the address. Remove it, or write %20 for it."))
    scheme, separator, _rest = address.partition("://")
    if scheme.lower() == "rtsps" and "rtsp" in schemes:
        raise AddressError(
            _("Encrypted RTSP (rtsps) is not supported. Enter %(like)s instead.") % {"like": unencrypted(address)}
        )
    if not separator or scheme.lower() not in schemes:
        wanted = _(" or ").join(f"{each}://" for each in schemes)
        raise AddressError(
            _("The address must begin with %(wanted)s, like %(like)s.") % {"wanted": wanted, "like": like}
        )
    try:
        parts = urlsplit(address)
        host, port = parts.hostname or "", parts.port
    except ValueError as error:
        raise AddressError(_("The host or port cannot be read. Enter them like %(like)s.") % {"like": like}) from error
    if "@" in parts.netloc:
        raise AddressError(_("User and password do not belong in the address: they have their own fields."))
    if not host or port == 0:
        raise AddressError(_("The address names no host. Enter it like %(like)s.") % {"like": like})
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    return NetworkAddress(scheme.lower(), host, port or DEFAULT_PORTS[scheme.lower()], target)


def unencrypted(address: str) -> str:
    """An rtsps address as it reads without encryption. UniFi has its plain streams at port 7447, without a query."""
    try:
        parts = urlsplit(address)
        host, port = parts.hostname or "", parts.port
    except ValueError:
        return "rtsp://192.168.1.20/stream1"
    host = f"[{host}]" if ":" in host else host
    if port == 7441:
        return f"rtsp://{host}:7447{parts.path}"
    return f"rtsp://{host}{parts.path or '/'}"


def split_login(address: str) -> tuple[str, str, str]:
    """Split an address as people paste it into address, user and password: ("rtsp://host/x", "user", "p@ss").

    A login is what is before the host; an "@" after a host belongs to the path. A password with an unescaped @, / or #
    is understood too, if only one reading leads to a host: else AddressError asks for it in its own field, as no piece
    of a password may be looked up as a name.
    """
    text = address.strip()
    scheme, _separator, rest = text.partition("://")
    authority = re.split(r"[/?#]", rest, maxsplit=1)[0]
    if "@" not in authority and (_PLACE.match(authority) or ":" not in authority):
        return text, "", ""
    readings = [each for each in (Reading(rest, at) for at, char in enumerate(rest) if char == "@") if each.host]
    usual = [each for each in readings if each.at == authority.rfind("@")]
    later = [each for each in readings if each.at >= len(authority)]
    if usual and (usual[0].is_plain or not later):
        chosen = usual
    else:
        chosen = [each for each in later if each.is_plain] or [*usual, *later]
    if not chosen:
        return text, "", ""
    if len(chosen) > 1:
        raise AddressError(_("It is not clear where the password ends. Enter user and password in their own fields."))
    user, _colon, password = rest[: chosen[0].at].partition(":")
    return f"{scheme}://{rest[chosen[0].at + 1 :]}", unquote(user), unquote(password)


_PLACE = re.compile(r"(\[[0-9a-fA-F:.]+\]|[\w.-]+)(:\d{1,5})?(?=[/?#]|\Z)")


@dataclass(frozen=True)
class Reading:
    """An address whose login would end at the "@" at this place."""

    rest: str
    at: int

    @property
    def host(self) -> str:
        """What would be host and port; empty if it can be none."""
        found = _PLACE.match(self.rest, self.at + 1)
        return found[0] if found else ""

    @property
    def is_plain(self) -> bool:
        """Whether it can hardly be anything else: an IP address, or with a port."""
        return bool(re.match(r"\[|\d+(\.\d+){3}\Z|.*:\d", self.host))


def authority_of(address: str) -> str:
    """Scheme, host and port of an address, for comparing two; the port that the scheme implies is left out."""
    scheme, _separator, rest = address.lower().partition("://")
    authority = re.split(r"[/?#]", rest, maxsplit=1)[0]
    return f"{scheme}://{authority.removesuffix(f':{DEFAULT_PORTS.get(scheme, 0)}')}"


def mask_login(text: str) -> str:
    """The text without what is between :// and @, for errors and logs that may quote an address."""
    return re.sub(r"://[^\s]*@", "://…@", text)


# -- which addresses ------------------------------------------------------------------------------------------------


def judge(ip: IpAddress, port: int) -> str:
    """Why this address may not be connected to, as a sentence for people; empty if it may be."""
    plain = unwrap(ip)
    if any(plain.version == network.version and plain in network for network in allowed_networks()):
        return ""
    if plain.is_unspecified or plain.is_loopback:
        return _("This address leads to the portal's own machine. Enter the camera's own address.")
    if plain.is_link_local or plain in _METADATA or plain in _SITE_LOCAL:
        return _("This address is link-local or a cloud's own. Give the camera an address of your network.")
    if plain.is_multicast or plain.is_reserved:
        return _("This address belongs to no single device (multicast or reserved). Enter the camera's own address.")
    if (plain, port) in own_services():
        return _("This is a service of the portal itself, not a camera.")
    if is_this_machine(plain):
        return _("This is an address of the portal's own machine. The operator allows it with CAMERA_NETWORKS.")
    return ""


def unwrap(ip: IpAddress) -> IpAddress:
    """The IPv4 address inside an IPv6 one (mapped, 6to4, Teredo, NAT64), else the address itself."""
    if isinstance(ip, ipaddress.IPv6Address):
        inner = ip.ipv4_mapped or ip.sixtofour or (ip.teredo[1] if ip.teredo else None)
        if inner is None and ip in _NAT64:
            inner = ipaddress.IPv4Address(int(ip) & 0xFFFFFFFF)
        if inner is None and int(ip) >> 32 == 0 and int(ip) > 1:
            inner = ipaddress.IPv4Address(int(ip))  # IPv4-compatible, RFC 4291 section 2.5.5.1
        return inner or ip
    return ip


def allowed_networks() -> tuple[ipaddress.IPv4Network | ipaddress.IPv6Network, ...]:
    return tuple(ipaddress.ip_network(text, strict=False) for text in settings.CAMERA_NETWORKS)


def own_services() -> frozenset[tuple[IpAddress, int]]:
    """Addresses and ports of Redis and the database, wherever they are."""
    return _resolved_services(*_service_urls())


def _service_urls() -> tuple[str, str, str]:
    database = settings.DATABASES["default"]
    return settings.REDIS_URL, str(database.get("HOST") or ""), str(database.get("PORT") or "5432")


@cache
def _service_hosts(redis_url: str, database_host: str, database_port: str) -> frozenset[tuple[str, int]]:
    found = set()
    parts = urlsplit(redis_url)
    if parts.scheme in {"redis", "rediss"} and parts.hostname:
        found.add((parts.hostname, parts.port or 6379))
    if database_host and not database_host.startswith("/"):
        found.add((database_host, int(database_port)))
    return frozenset(found)


@cache
def _resolved_services(redis_url: str, database_host: str, database_port: str) -> frozenset[tuple[IpAddress, int]]:
    found = set()
    for host, port in _service_hosts(redis_url, database_host, database_port):
        try:
            found |= {(unwrap(ip), port) for ip in _look_up(host)}
        except OSError:
            continue
    return frozenset(found)


def is_this_machine(ip: IpAddress) -> bool:
    """Whether this address is one of this machine's: only those can be bound to."""
    try:
        with socket.socket(socket.AF_INET if ip.version == 4 else socket.AF_INET6, socket.SOCK_DGRAM) as probe:
            probe.bind((str(ip), 0))
        return True
    except OSError:
        return False


# -- resolving and connecting ---------------------------------------------------------------------------------------


class _Questions:
    """What the resolver is being asked about one host. It has no deadline: what comes too late for one try is there for
    the next, and each asks anew, as one question may hang when the next is answered.
    """

    _hosts: ClassVar[dict[str, _Questions]] = {}
    _guard = threading.Condition()

    def __init__(self) -> None:
        self.open = 0
        self.late: tuple[float, list[IpAddress]] = (float("-inf"), [])

    @classmethod
    def ask(cls, host: str, stop: threading.Event) -> list[IpAddress] | None:
        """The host's addresses, none if it is unknown; None if that is not known within RESOLVE_S."""
        mine: list[list[IpAddress]] = []
        with cls._guard:
            asked = cls._hosts.setdefault(host, cls())
            if asked.open < MOST_QUESTIONS:
                asked.open += 1
                run = partial(asked._wait_for, host, mine)  # getaddrinfo has no deadline
                threading.Thread(target=run, name="resolver", daemon=True).start()
            until = time.monotonic() + RESOLVE_S
            while not mine and not asked._is_answered() and not stop.is_set():
                if time.monotonic() >= until:
                    return None
                cls._guard.wait(TICK_S)
            found = mine[0] if mine else asked.late[1]
            asked.late = (float("-inf"), [])
            return found if mine or found else None

    def _is_answered(self) -> bool:
        return time.monotonic() - self.late[0] < LATE_ANSWER_S

    def _wait_for(self, host: str, mine: list[list[IpAddress]]) -> None:
        try:
            found = _look_up(host)
        except (OSError, UnicodeError):
            found = []
        with self._guard:
            self.open -= 1
            mine.append(found)
            if found:
                self.late = (time.monotonic(), found)
            elif not self.open and not self._is_answered():
                self._hosts.pop(host, None)
            self._guard.notify_all()


def resolve(host: str, port: int, stop: threading.Event) -> list[IpAddress]:
    """The addresses of a host that may be connected to, in the resolver's order, within RESOLVE_S.

    An answer that comes later is used by the next call, if that comes within LATE_ANSWER_S.

    Raises StreamError if the name is unknown or the resolver silent, AddressError if every address is refused.
    """
    found = _Questions.ask(host, stop)
    if found is None:
        raise StreamError(
            _("The name “%(host)s” could not be looked up in time. Enter the camera's IP address, like 192.168.1.20.")
            % {"host": host}
        )
    if not found:
        raise StreamError(
            _("There is no “%(host)s” in this network. Check the spelling, or enter the camera's IP address.")
            % {"host": host}
        )
    reasons = [judge(ip, port) for ip in found]
    allowed = [ip for ip, reason in zip(found, reasons, strict=True) if not reason]
    if not allowed:
        raise AddressError(reasons[0])
    return allowed


def _look_up(host: str) -> list[IpAddress]:
    rows = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(ipaddress.ip_address(str(row[4][0]).partition("%")[0]) for row in rows))


def connect(addresses: list[IpAddress], port: int, stop: threading.Event) -> socket.socket:
    """A TCP connection to the first of these checked addresses that answers; StreamError says why if none does."""
    reason = _("Nothing answers there within %(seconds)d s. Is the camera on, and is the address right?") % {
        "seconds": CONNECT_S
    }
    for ip in addresses:
        family = socket.AF_INET if ip.version == 4 else socket.AF_INET6
        connection = socket.socket(family, socket.SOCK_STREAM)
        connection.setblocking(False)
        error = connection.connect_ex((str(ip), port))
        until = time.monotonic() + CONNECT_S
        while error and time.monotonic() < until and not stop.is_set():
            if select.select([], [connection], [], TICK_S)[1]:
                error = connection.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
                break
        if not error and not stop.is_set():
            connection.settimeout(CONNECT_S)
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            return connection
        connection.close()
        if error == errno.ECONNREFUSED:
            reason = _("There is a machine, but nothing listens on port %(port)d. Look up the camera's port.") % {
                "port": port
            }
        elif error in {errno.ENETUNREACH, errno.EHOSTUNREACH}:
            reason = _("There is no route to that address from here. Is the camera in this network?")
    raise StreamError(reason)
