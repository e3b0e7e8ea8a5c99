"""Chats at vendors' own hosts, by apprise: only those whose host nobody types, and only through our door.

apprise would open connections of its own, and follow redirects. So its modules get a stand-in for `requests` that has
only what they need, and makes each call by portal/alerts/channels/calls.py.
"""

from __future__ import annotations

import json
import sys
import threading
from collections import defaultdict
from typing import Any
from urllib.parse import urlsplit

from django.utils.translation import gettext as _

from portal.alerts.channels import SendError
from portal.alerts.channels.calls import Reply, ask
from portal.alerts.wording import Notification

# By the name at the beginning of an address; each one's module connects to its vendor's host alone.
ALLOWED = ("slack", "tgram", "discord", "pover", "pbul", "prowl", "join", "pagerduty", "opsgenie", "wxteams", "gchat",
           "twilio", "vonage")  # fmt: skip

_locks: dict[str, threading.Lock] = defaultdict(threading.Lock)  # a module has one door


class StandIn:
    """What a module of apprise takes for `requests`."""

    def __init__(self) -> None:
        import requests

        self.codes, self.RequestException = requests.codes, requests.RequestException
        self._requests = requests
        self.answers: list[Reply] = []
        self.refusals: list[SendError] = []

    def post(self, url: str, **given: Any) -> Any:
        return self.request("POST", url, **given)

    def get(self, url: str, **given: Any) -> Any:
        return self.request("GET", url, **given)

    def request(
        self,
        method: str,
        url: str,
        *,
        params: Any = None,
        data: Any = None,
        headers: Any = None,
        auth: Any = None,
        files: Any = None,
        **given: Any,
    ) -> Any:
        """Make the call; a request's other arguments (time-outs, certificates) are ours to decide."""
        if given.get("json") is not None:
            data, headers = json.dumps(given["json"]), {"Content-Type": "application/json"} | dict(headers or {})
        prepared = self._requests.Request(
            method, url, params=params, data=data, headers=headers, auth=auth, files=files
        ).prepare()
        body: Any = prepared.body or b""
        content = body.encode() if isinstance(body, str) else bytes(body)
        sent = {name: str(value) for name, value in prepared.headers.items()}
        try:
            answer = ask(method, str(prepared.url), sent, content)
        except SendError as error:
            self.refusals.append(error)
            raise self._requests.RequestException(str(error)) from error
        self.answers.append(answer)
        response = self._requests.Response()
        response.status_code, response._content = answer.status, answer.body
        response.headers.update(dict(answer.headers))
        return response


def check(address: str) -> str:
    """What is wrong with an address, as a sentence; empty if nothing is."""
    scheme = urlsplit(address).scheme.lower()
    if scheme not in ALLOWED:
        names = ", ".join(f"{name}://" for name in ALLOWED)
        return _("It must begin with one of %(names)s, as github.com/caronc/apprise describes them.") % {"names": names}
    return "" if _plugin(address) is not None else _("This address is not complete.")


def _plugin(address: str) -> Any:
    import apprise

    if urlsplit(address).scheme.lower() not in ALLOWED:
        return None
    plugin = apprise.Apprise.instantiate(address, suppress_exceptions=True)
    # A template is a file or an address that apprise would fetch by itself, from this machine.
    return None if getattr(plugin, "template", None) else plugin


def notify(address: str, message: Notification) -> Reply:
    """Send a message; the last answer. Raises SendError if the vendor did not take it."""
    plugin = _plugin(address)
    if plugin is None:
        raise SendError(_("This address is not complete."), permanent=True)
    door = StandIn()
    lines = [message.text, *(item.text for item in message.items), message.link]
    module = type(plugin).__module__
    with _locks[module]:
        sys.modules[module].requests = door  # type: ignore[attr-defined]
        taken = plugin.notify(body="\n".join(line for line in lines if line), title=message.subject)
    if door.refusals and not taken:
        raise door.refusals[-1]
    if not door.answers:
        raise SendError(_("It could not be sent: the address is incomplete."), permanent=True)
    last = door.answers[-1]
    if not taken and last.status < 300:
        raise SendError(_("The service did not accept it: %(said)s") % {"said": last.text[:120]}, permanent=True)
    return last


def hide(address: str) -> str:
    """The address without its secrets, to be shown."""
    return f"{urlsplit(address).scheme}://…"
