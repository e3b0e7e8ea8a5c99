"""One HTTP call to a place outside: through the one door for outgoing calls (cameras/reach/checked_http.py).

A service in the portal's own machine or a cloud's metadata is never reached, whoever typed the address, and no redirect
is followed. An answer counts by its status: 2xx was taken; 408, 425, 429 and 5xx are tried again; the rest is for good.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass

import httpx
from django.utils.translation import gettext as _

from cameras.errors import AddressError, CameraError
from cameras.reach.addresses import parse_address
from cameras.reach.checked_http import checked_client
from portal.alerts.channels import SendError

WITHIN_S = 15.0  # for the whole call
WRITE_S = 5.0
MOST_BYTES = 65_536  # of an answer; what is longer is not read
MOST_CHARACTERS = 4000  # of an address
AGAIN = frozenset({408, 425, 429})


@dataclass(frozen=True)
class Reply:
    """What the other side said."""

    status: int
    body: bytes
    headers: Mapping[str, str]

    @property
    def text(self) -> str:
        return self.body.decode(errors="replace")


def ask(method: str, url: str, headers: Mapping[str, str], body: bytes) -> Reply:
    """Make a call; returns any answer. Raises SendError if there is none."""
    until = time.monotonic() + WITHIN_S

    def check() -> None:
        if time.monotonic() > until:
            raise CameraError(_("It accepted the connection, but does not answer."))

    try:
        address = parse_address(url, ("https", "http"), MOST_CHARACTERS).url
        with (
            checked_client(check, threading.Event(), WRITE_S) as client,
            client.stream(method, address, headers=dict(headers), content=body) as response,
        ):
            read = bytearray()
            for part in response.iter_bytes(8192):
                read += part
                if len(read) >= MOST_BYTES:
                    break
            return Reply(response.status_code, bytes(read[:MOST_BYTES]), response.headers)
    except AddressError as error:
        told = _("This address may not be called: it is not a web address, or leads to the portal's own machine.")
        raise SendError(told, permanent=True) from error
    except CameraError as error:
        if time.monotonic() > until:
            raise SendError(_("It accepted the connection, but does not answer.")) from error
        raise SendError(_("There is no connection to it: nothing answers, or its name is unknown.")) from error
    except (httpx.HTTPError, httpx.InvalidURL, OSError, ValueError) as error:
        raise SendError(_("The connection broke before there was an answer.")) from error


def call(method: str, url: str, headers: Mapping[str, str], body: bytes) -> Reply:
    """Make a call that must be taken; raises SendError otherwise."""
    answer = ask(method, url, headers, body)
    judge(answer.status)
    return answer


def judge(status: int) -> None:
    """Raise SendError unless this status means that it was taken."""
    if 200 <= status < 300:
        return
    if 300 <= status < 400:
        raise SendError(_("It answers with a redirect (%(status)d). Enter the address where it leads.")
                        % {"status": status}, permanent=True)  # fmt: skip
    permanent = 400 <= status < 500 and status not in AGAIN
    raise SendError(_("It answers with error %(status)d.") % {"status": status}, permanent=permanent)
