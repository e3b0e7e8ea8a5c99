"""HTTPS at home: an authority for private names only, and a leaf certificate that phones accept."""

from __future__ import annotations

import ipaddress
import socket
import ssl
import stat
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from django.test import Client

from portal.server import certificates, environment
from portal.server.certificates import ensure

NAMES = ["localhost", "lobby-pc", "lobby-pc.local"]
ADDRESSES = [ipaddress.ip_address(text) for text in ("127.0.0.1", "::1", "192.168.1.5")]
NOW = datetime.now(UTC)


def load(path: Path) -> x509.Certificate:
    return x509.load_pem_x509_certificate(path.read_bytes())


def test_a_browser_that_trusts_the_authority_trusts_the_portal(tmp_path: Path) -> None:
    leaf = ensure(tmp_path, NAMES, ADDRESSES)
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(leaf, tmp_path / "portal.key")
    trust = ssl.create_default_context(cafile=tmp_path / "authority.crt")
    trust.verify_flags |= ssl.VERIFY_X509_STRICT
    for name in (*NAMES, "192.168.1.5"):
        shake_hands(server, trust, name)
    with pytest.raises(ssl.SSLCertVerificationError):
        shake_hands(server, trust, "other.local")


def shake_hands(server: ssl.SSLContext, trust: ssl.SSLContext, name: str) -> None:
    a, b = socket.socketpair()
    a.settimeout(5)
    b.settimeout(5)

    def serve() -> None:
        try:
            server.wrap_socket(a, server_side=True).close()
        except OSError:
            a.close()

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        trust.wrap_socket(b, server_hostname=name).close()
    finally:
        b.close()
        thread.join(5)


def test_keys_are_the_owners_alone_and_times_are_what_phones_take(tmp_path: Path) -> None:
    leaf = load(ensure(tmp_path, NAMES, ADDRESSES, NOW))
    assert leaf.not_valid_after_utc - leaf.not_valid_before_utc <= timedelta(days=397)
    for name in ("authority.key", "portal.key"):
        assert stat.S_IMODE((tmp_path / name).stat().st_mode) == 0o600


def test_it_is_renewed_in_time_and_for_new_names_under_the_same_authority(tmp_path: Path) -> None:
    first = load(ensure(tmp_path, NAMES, ADDRESSES, NOW))
    authority = (tmp_path / "authority.crt").read_bytes()
    assert load(ensure(tmp_path, NAMES, ADDRESSES, NOW + timedelta(days=100))).serial_number == first.serial_number
    moved = load(ensure(tmp_path, NAMES, [*ADDRESSES, ipaddress.ip_address("10.0.0.7")], NOW))
    assert moved.serial_number != first.serial_number
    late = load(ensure(tmp_path, NAMES, ADDRESSES, NOW + timedelta(days=360)))
    assert late.not_valid_after_utc > first.not_valid_after_utc
    assert (tmp_path / "authority.crt").read_bytes() == authority, "phones trust this one"
    (tmp_path / "portal.crt").write_text("cut off")
    assert load(ensure(tmp_path, NAMES, ADDRESSES)).subject


def test_the_authority_cannot_vouch_for_the_internet(tmp_path: Path) -> None:
    """Critical name constraints (RFC 5280, 4.2.1.10): a stolen key cannot make a certificate for a bank."""
    ensure(tmp_path, NAMES, ADDRESSES)
    authority = load(tmp_path / "authority.crt")
    constraints = authority.extensions.get_extension_for_class(x509.NameConstraints)
    permitted = {str(subtree.value) for subtree in constraints.value.permitted_subtrees or []}
    assert constraints.critical and "localhost" in permitted and "10.0.0.0/8" in permitted and "" not in permitted
    key = load_pem_private_key((tmp_path / "authority.key").read_bytes(), None)
    own = ec.generate_private_key(ec.SECP256R1())
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    forged = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([]))
        .issuer_name(authority.subject)
        .public_key(own.public_key())
        .serial_number(7)
        .not_valid_before(NOW - timedelta(hours=1))
        .not_valid_after(NOW + timedelta(days=9))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("bank.example")]), critical=True)
        .sign(key, hashes.SHA256())
    )
    path = tmp_path / "forged.pem"
    path.write_bytes(forged.public_bytes(serialization.Encoding.PEM) + certificates._pem(own))
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(path)
    trust = ssl.create_default_context(cafile=tmp_path / "authority.crt")
    with pytest.raises(ssl.SSLCertVerificationError, match="subtree"):
        shake_hands(server, trust, "bank.example")


def test_this_machines_addresses_are_private(tmp_path: Path) -> None:
    found = certificates.machine_addresses()
    assert found[:2] == [ipaddress.ip_address("127.0.0.1"), ipaddress.ip_address("::1")]
    assert all(ip.is_private or ip in ipaddress.ip_network("100.64.0.0/10") for ip in found)
    assert "localhost" in certificates.machine_names()


@pytest.mark.parametrize("path", ["/connect/", "/connect/authority.crt"])
def test_without_https_there_is_no_such_page(db: None, path: str) -> None:
    assert Client().get(path).status_code == 404


def test_bound_everywhere_the_address_that_is_told_is_one_that_a_phone_reaches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(certificates, "machine_addresses", lambda: ADDRESSES)
    assert environment.base_url("0.0.0.0", 8000, https=True) == "https://192.168.1.5:8000"  # noqa: S104
    assert environment.base_url("0.0.0.0", 8000, https=False) == "http://127.0.0.1:8000"  # noqa: S104
    assert environment.base_url("::1", 8000, https=True) == "https://[::1]:8000"
