"""A camera's challenges, however it writes them, and never a login too many: cameras lock accounts."""

from __future__ import annotations

import hashlib
import re
from contextlib import suppress
from unittest.mock import patch

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cameras.errors import LoginError
from cameras.reach.login import MOST_ANSWERS, Login, parse_challenges
from cameras.reach.place import Place
from cameras.settings import CameraSettings
from cameras.sources import Opening

PASSWORD = "p@ss/w%rd:#ü"
URI = "rtsp://camera/live"


def fields_of(header: str) -> dict[str, str]:
    return {name: quoted or plain for name, quoted, plain in re.findall(r'(\w+)=(?:"([^"]*)"|([^",\s]+))', header)}


def is_right(header: str, realm: str, nonce: str, user: str = "admin", password: str = PASSWORD) -> bool:
    """Whether a camera that follows RFC 7616, section 3.4 lets this in."""
    scheme, _, _ = header.partition(" ")
    if scheme == "Basic":
        return header == httpx.BasicAuth(user, password)._auth_header
    given_ = fields_of(header)

    def h(text: str) -> str:
        name = "sha256" if given_.get("algorithm", "MD5").startswith("SHA-256") else "md5"
        return hashlib.new(name, text.encode(), usedforsecurity=False).hexdigest()

    one, two = h(f"{user}:{realm}:{password}"), h(f"DESCRIBE:{URI}")
    if given_.get("algorithm", "").endswith("-SESS"):
        one = h(f"{one}:{nonce}:{given_['cnonce']}")
    middle = f"{given_['nc']}:{given_['cnonce']}:auth:" if "qop" in given_ else ""
    return (
        given_["username"] == user
        and given_["nonce"] == nonce
        and given_["response"] == h(f"{one}:{nonce}:{middle}{two}")
    )


def test_digest_is_as_in_rfc_7616() -> None:
    """Section 3.9.1, with its client nonce."""
    login = Login("Mufasa", "Circle of Life")
    challenge = (
        'Digest realm="http-auth@example.org", qop="auth, auth-int", algorithm=MD5, '
        'nonce="7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v", opaque="FQhe/qaU925kfnzjCev0ciny7QMkPqMAFRtzCUYo5tdS"'
    )
    nonce = "f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ"
    with patch.object(httpx.DigestAuth, "_get_client_nonce", lambda self, count, nonce_: nonce.encode()):
        header = login.answer("GET", "/dir/index.html", [challenge])
    assert 'response="8ca523f5e9506fed4657c9700eebdbec"' in header and 'uri="/dir/index.html"' in header
    assert 'opaque="FQhe/qaU925kfnzjCev0ciny7QMkPqMAFRtzCUYo5tdS"' in header and "nc=00000001" in header


@pytest.mark.parametrize(
    ("challenges", "chosen"),
    [
        (['Basic realm="cam"'], "Basic"),
        (["Basic"], "Basic"),
        (["bAsIc"], "Basic"),
        (['Digest realm="cam", nonce="1"'], "MD5"),
        (['Digest realm="cam", nonce="1", qop=""'], "MD5"),
        (['Digest realm="cam", nonce="1", qop="auth,auth-int"'], "MD5"),
        (['digest realm = "cam" , nonce = "1" , qop = auth'], "MD5"),
        (["Digest realm=cam,nonce=1"], "MD5"),
        (['Digest nonce="1", algorithm="MD5", realm="cam", opaque="", charset=UTF-8, domain="/"'], "MD5"),
        (['Digest realm="cam", nonce="1", algorithm=MD5-sess, qop="auth"'], "MD5-SESS"),
        (['Digest realm="cam", nonce="1", algorithm=SHA-256, qop="auth"'], "SHA-256"),
        (['Digest realm="cam", nonce="1", algorithm=sha-256'], "SHA-256"),
        (
            ['Digest realm="cam", nonce="1", algorithm=MD5', 'Digest realm="cam", nonce="1", algorithm=SHA-256'],
            "SHA-256",
        ),
        (['Digest realm="cam", nonce="1", algorithm=SHA-256, Digest realm="cam", nonce="1", algorithm=MD5'], "SHA-256"),
        (['Digest realm="cam", nonce="1"', 'Digest realm="cam", nonce="1", algorithm=SHA-512-256'], "MD5"),
        (['Digest realm="cam", nonce="1", algorithm=ROT13, Basic realm="cam"'], "Basic"),
        (['Digest realm="cam", nonce="1", qop="auth-int", Basic realm="cam"'], "Basic"),
        (['Basic realm="cam", Digest realm="cam", nonce="1"'], "MD5"),
        (["Negotiate", 'Digest realm="cam", nonce="1"'], "MD5"),
        (['Negotiate YWJj==, Digest realm="cam", nonce="1"'], "MD5"),
        (['Bearer realm="x", Digest realm="cam", nonce="1",, Basic realm="cam"'], "MD5"),
        (['Digest realm="a, Basic b", nonce="1"'], "MD5"),
        (['Digest realm="cam", nonce="1'], "MD5"),
    ],
)
def test_every_form_of_challenge_is_answered_with_the_best_way_that_is_known(
    challenges: list[str], chosen: str
) -> None:
    header = Login("admin", PASSWORD).answer("DESCRIBE", URI, challenges)
    realm = "a, Basic b" if "a, Basic b" in challenges[0] else "cam"
    assert is_right(header, realm, "1")
    assert header.startswith("Basic ") if chosen == "Basic" else fields_of(header).get("algorithm", "MD5") == chosen


parameters = st.lists(
    st.sampled_from(['realm="cam"', 'nonce="1"', "algorithm=MD5", 'qop="auth"', 'opaque="x"', "qop=", "stale=false",
                     'domain=""', "unknown", "a=b", "=", ","]), max_size=6,
)  # fmt: skip
schemes = st.sampled_from(["Digest", "Basic", "Negotiate", "Bearer", "digest", ""])


@given(st.lists(st.tuples(schemes, parameters), max_size=4), st.sampled_from([", ", ",", " , ", " "]))
def test_any_challenges_are_answered_or_refused_in_words(given_: list[tuple[str, list[str]]], comma: str) -> None:
    headers = [f"{scheme} {comma.join(fields)}" for scheme, fields in given_]
    for challenges in (headers, [comma.join(headers)], headers[::-1]):
        try:
            assert Login("admin", PASSWORD).answer("DESCRIBE", URI, challenges)
        except LoginError as error:
            assert str(error)


@given(st.text(max_size=80))
def test_any_text_is_some_challenges(text: str) -> None:
    assert all(each.scheme for each in parse_challenges([text]))


challenge = st.sampled_from(
    ['Basic realm="x"', 'Digest realm="x", nonce="1"', 'Digest realm="x", nonce="2"', 'Digest realm="x", nonce="3"',
     'Digest realm="x", nonce="1", stale=true', 'Digest realm="x", nonce="1", algorithm=SHA-256']
)  # fmt: skip


@given(st.lists(challenge, min_size=1, max_size=12))
def test_no_sequence_of_challenges_leads_to_a_third_login(challenges: list[str]) -> None:
    login, answered = Login("a", "b"), 0
    for each in challenges:
        try:
            login.answer("DESCRIBE", URI, [each])
            answered += 1
        except LoginError:
            break
    assert 1 <= answered <= MOST_ANSWERS == 2


@given(st.lists(challenge, min_size=1, max_size=12))
def test_over_http_too_there_are_two_at_most(challenges: list[str]) -> None:
    left, sent = list(challenges), []

    def camera(request: httpx.Request) -> httpx.Response:
        sent.append(request.headers.get("authorization", ""))
        return httpx.Response(401, headers={"www-authenticate": left.pop(0)}) if left else httpx.Response(200)

    with httpx.Client(transport=httpx.MockTransport(camera)) as client, suppress(LoginError):
        client.get("http://camera/", auth=Login("a", "b"))
    assert len([each for each in sent if each]) <= 2


def test_a_login_needs_a_user_and_is_refused_in_words() -> None:
    with pytest.raises(LoginError, match="Fill in both"):
        Login("", "").answer("GET", "/", ['Basic realm="x"'])
    for unknown in ("Negotiate", 'Digest realm="x", nonce="1", algorithm=ROT13', 'Digest realm="x"', ""):
        with pytest.raises(LoginError, match="not supported"):
            Login("a", "b").answer("GET", "/", [unknown])
    login = Login("a", "b")
    assert login.header("GET", "/") == "" and login.answer("GET", "/", ['Basic realm="x"']).startswith("Basic ")
    with pytest.raises(LoginError, match="does not accept"):
        login.answer("GET", "/", ['Basic realm="x"'])
    assert PASSWORD not in repr(Opening(Place("rtsp", "rtsp://h/", "a", PASSWORD))) + repr(login)
    assert PASSWORD not in repr(CameraSettings(1, "n", Place("rtsp", "a", "u", PASSWORD)))
