"""HTTPS at home: an authority of our own and a certificate for this machine's names and addresses.

Phones give a page their camera only over HTTPS. No public authority issues a certificate for a machine on a
home network, so `make run HTTPS=1` makes one: the authority is installed on the phone once, the leaf is renewed.

    DATA_DIR/certificates/authority.crt   for phones; may sign for private names and addresses only
    DATA_DIR/certificates/authority.key   0600
    DATA_DIR/certificates/portal.crt      397 days, the longest that phones accept (CA/Browser Forum, section 6.3.2)
    DATA_DIR/certificates/portal.key      0600

RFC 5280 (section 4.2.1.10: name constraints).
"""

from __future__ import annotations

import array
import fcntl
import ipaddress
import os
import socket
import struct
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

LEAF_DAYS = 397
AUTHORITY_DAYS = 3650
RENEW_BEFORE = timedelta(days=60)
BACKDATED = timedelta(hours=1)  # for clocks that are a little slow
PRIVATE = ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "127.0.0.0/8", "169.254.0.0/16", "100.64.0.0/10",
           "fc00::/7", "fe80::/10", "::1/128")  # fmt: skip
PRIVATE_NAMES = ("localhost", "local", "lan", "home", "internal", "home.arpa", "fritz.box")
SIOCGIFCONF = 0x8912

IpAddress = ipaddress.IPv4Address | ipaddress.IPv6Address


def machine_names() -> list[str]:
    """Names by which this machine is reached: its own, and that name in .local."""
    own = socket.gethostname().lower()
    short = own.split(".")[0]
    return list(dict.fromkeys(["localhost", own, f"{short}.local"]))


def machine_addresses() -> list[IpAddress]:
    """Private addresses of this machine, loopback first. Asks the system, not the network."""
    found: list[IpAddress] = [ipaddress.ip_address("127.0.0.1"), ipaddress.ip_address("::1")]
    private = [ipaddress.ip_network(text) for text in PRIVATE]
    candidates = [*_ipv4_of_interfaces(), *_ipv6_of_interfaces()]
    for ip in candidates:
        inside = any(ip.version == network.version and ip in network for network in private)
        if inside and not ip.is_link_local and ip not in found:
            found.append(ip)
    return found


def _ipv4_of_interfaces() -> list[IpAddress]:
    """netdevice(7), SIOCGIFCONF."""
    size = 40
    buffer = array.array("B", b"\0" * size * 128)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        request = struct.pack("iL", len(buffer), buffer.buffer_info()[0])
        used = struct.unpack("iL", fcntl.ioctl(probe.fileno(), SIOCGIFCONF, request))[0]
    raw = buffer.tobytes()
    return [ipaddress.IPv4Address(raw[start + 20 : start + 24]) for start in range(0, used, size)]


def _ipv6_of_interfaces() -> list[IpAddress]:
    """/proc/net/if_inet6."""
    try:
        lines = Path("/proc/net/if_inet6").read_text().splitlines()
    except OSError:
        return []
    return [ipaddress.IPv6Address(bytes.fromhex(line.split()[0])) for line in lines]


def ensure(folder: Path, names: list[str], addresses: list[IpAddress], now: datetime | None = None) -> Path:
    """The leaf's path, with `portal.key` beside it. What is missing, too old, or for other names is made again.

    The authority is kept as long as it is valid for the requested names, because phones trust it.
    """
    now = now or datetime.now(UTC)
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    if not _authority_fits(folder, names, now):
        _make_authority(folder, names, now)
        (folder / "portal.crt").unlink(missing_ok=True)
    if not _leaf_fits(folder, names, addresses, now):
        _make_leaf(folder, names, addresses, now)
    return folder / "portal.crt"


def _load(path: Path) -> x509.Certificate | None:
    try:
        return x509.load_pem_x509_certificate(path.read_bytes())
    except (OSError, ValueError):
        return None


def _is_private_name(name: str) -> bool:
    return any(name == root or name.endswith(f".{root}") for root in PRIVATE_NAMES)


def _permitted_names(names: list[str]) -> list[str]:
    """Roots of private names, and those of this machine's names that are outside them."""
    return [*PRIVATE_NAMES, *(name for name in names if not _is_private_name(name))]


def _authority_fits(folder: Path, names: list[str], now: datetime) -> bool:
    found = _load(folder / "authority.crt")
    if found is None or not (folder / "authority.key").exists() or found.not_valid_after_utc - now < RENEW_BEFORE:
        return False
    constraints = found.extensions.get_extension_for_class(x509.NameConstraints).value.permitted_subtrees or []
    permitted = {str(subtree.value) for subtree in constraints}
    return set(_permitted_names(names)) <= permitted


def _leaf_fits(folder: Path, names: list[str], addresses: list[IpAddress], now: datetime) -> bool:
    found = _load(folder / "portal.crt")
    if found is None or not (folder / "portal.key").exists() or found.not_valid_after_utc - now < RENEW_BEFORE:
        return False
    alternatives = found.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    has = set(alternatives.get_values_for_type(x509.DNSName)) | set(alternatives.get_values_for_type(x509.IPAddress))
    return {*names, *addresses} <= has


def _make_authority(folder: Path, names: list[str], now: datetime) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    title = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"Mask portal of {socket.gethostname()[:40]}")])
    permitted: list[x509.GeneralName] = [x509.DNSName(name) for name in _permitted_names(names)]
    permitted += [x509.IPAddress(ipaddress.ip_network(text)) for text in PRIVATE]
    certificate = (
        x509.CertificateBuilder()
        .subject_name(title)
        .issuer_name(title)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - BACKDATED)
        .not_valid_after(now + timedelta(days=AUTHORITY_DAYS))
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage(signs=True), critical=True)
        .add_extension(x509.NameConstraints(permitted, None), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )
    _write(folder / "authority.key", _pem(key))
    _write(folder / "authority.crt", certificate.public_bytes(serialization.Encoding.PEM))


def _make_leaf(folder: Path, names: list[str], addresses: list[IpAddress], now: datetime) -> None:
    authority = x509.load_pem_x509_certificate((folder / "authority.crt").read_bytes())
    authority_key = serialization.load_pem_private_key((folder / "authority.key").read_bytes(), None)
    assert isinstance(authority_key, ec.EllipticCurvePrivateKey)  # noqa: S101 - for the type checker: we made it
    key = ec.generate_private_key(ec.SECP256R1())
    alternatives: list[x509.GeneralName] = [x509.DNSName(name) for name in names]
    alternatives += [x509.IPAddress(ip) for ip in addresses]
    certificate = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Mask portal")]))
        .issuer_name(authority.subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - BACKDATED)
        .not_valid_after(min(now - BACKDATED + timedelta(days=LEAF_DAYS), authority.not_valid_after_utc))
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(signs=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(x509.SubjectAlternativeName(alternatives), critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(authority_key.public_key()), critical=False)
        .sign(authority_key, hashes.SHA256())
    )
    _write(folder / "portal.key", _pem(key))
    _write(folder / "portal.crt", certificate.public_bytes(serialization.Encoding.PEM))


def _usage(*, signs: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs, key_cert_sign=signs, crl_sign=signs, content_commitment=False,
        key_encipherment=False, data_encipherment=False, key_agreement=False, encipher_only=False, decipher_only=False,
    )  # fmt: skip


def _pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def _write(path: Path, content: bytes) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)


def fingerprint(path: Path) -> str:
    """SHA-256 of a certificate, as phones show it."""
    found = x509.load_pem_x509_certificate(path.read_bytes())
    return found.fingerprint(hashes.SHA256()).hex(":").upper()
