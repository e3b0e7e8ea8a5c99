"""One open page. It learns what happens at the signed-in person's sites, and gets the previews that it asks for."""

from __future__ import annotations

import base64
import json
import time
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Any
from uuid import UUID

from channels.db import database_sync_to_async
from channels.generic.websocket import AsyncWebsocketConsumer
from django.conf import settings
from django.utils import translation
from django.utils.translation import get_supported_language_variant
from django.utils.translation.trans_real import parse_accept_lang_header

from cameras.models import Camera
from cameras.watching.preview import View
from portal.events import feed, messages
from portal.live.hub import hub, now_s
from portal.models import Violation
from portal.people import access, audit, looks, two_factor
from portal.people.access import Audience, Right, Scope
from portal.people.audit import Action
from portal.people.pictures import PictureGoneError, PictureView, render

UNACKED_S = 8.0  # a page that has not painted a picture for this long is no longer looking
MOST_MISSED = 200
MOST_NONSENSE = 10
PICTURE_FOR = timedelta(minutes=10)  # newer violations are sent with their picture


class LiveConsumer(AsyncWebsocketConsumer):
    """See portal/events/messages.py for the messages, and portal/live/hub.py for what sockets share."""

    user_id = 0
    session_key = ""
    session_hash = ""
    scope_now = Scope(0, False, ())
    joined: frozenset[int] = frozenset()
    noted: frozenset[int] = frozenset()
    address = ""
    language = settings.LANGUAGE_CODE

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """However a socket ends, even by an error while sending, the hub and the groups forget it."""
        try:
            await super().__call__(scope, receive, send)
        finally:
            hub().leave(self)
            await self._note_watching(frozenset())
            for site_id in self.joined:
                await self.channel_layer.group_discard(feed.site_group(site_id), self.channel_name)

    async def connect(self) -> None:
        self.views: dict[int, View] = {}
        self.allowed: dict[int, int] = {}  # the site of each camera that this person may look at
        self.under_way: dict[int, tuple[int, float]] = {}
        self.sent: dict[int, int] = {}
        self.nonsense = 0
        await self.accept()
        user, session = self.scope["user"], self.scope["session"]
        complete = user.is_authenticated and await database_sync_to_async(two_factor.is_complete)(user, session)
        if not complete:
            await self.end(messages.CLOSE_SIGNED_OUT)
            return
        self.address = str((self.scope.get("client") or ("",))[0])
        self.language = language_of(self.scope)
        self.user_id, self.session_key = user.pk, session.session_key or ""
        self.session_hash = user.get_session_auth_hash()
        self.scope_now = await database_sync_to_async(access.scope)(user)
        if not self.scope_now.site_ids and not self.scope_now.superuser:
            await self.end(messages.CLOSE_NO_RIGHT)
            return
        self.joined = self.scope_now.site_ids
        for site_id in self.joined:
            await self.channel_layer.group_add(feed.site_group(site_id), self.channel_name)
        await self._say_hello()
        hub().join(self)

    async def end(self, code: int) -> None:
        """Close; nothing more is sent from now on, even if closing takes a while."""
        hub().leave(self)
        self.scope_now, self.views = Scope(0, False, ()), {}
        await self.close(code)

    async def tell(self, body: dict[str, Any]) -> None:
        if self.language != settings.LANGUAGE_CODE:
            with translation.override(self.language):
                body = messages.worded(body)
        await self.send(text_data=json.dumps(body))

    async def _say_hello(self) -> None:
        feeds, rows = await database_sync_to_async(read_state)(self.scope_now.site_ids)
        self.allowed = {row["camera"]: row["site"] for row in rows}
        if hub().is_redis_away:
            rows = [messages.not_known(row) for row in rows]
        await self.tell({"type": "hello", "now": time.time(), "feeds": feeds, "cameras": rows})

    async def tell_cameras(self, cameras: list[dict[str, Any]]) -> None:
        """The states of these cameras, as far as this person may see them."""
        for camera in cameras:
            if camera["site"] in self.scope_now.site_ids:
                await self.tell(camera)

    # -- from the page ----------------------------------------------------------------------------------------------

    async def receive(self, text_data: str | None = None, bytes_data: bytes | None = None) -> None:
        try:
            message = messages.parse(text_data)
        except messages.MessageError as error:
            await self._misunderstood(str(error))
            return
        if isinstance(message, messages.Look):
            await self.receive_look(message)
        elif isinstance(message, messages.PreviewAck):
            await self.receive_ack(message)
        else:
            await self.receive_missed(message)

    async def _misunderstood(self, text: str) -> None:
        """Say what was expected; a page that keeps sending nonsense is closed."""
        self.nonsense += 1
        await self.tell({"type": "error", "text": text})
        if self.nonsense >= MOST_NONSENSE:
            await self.end(messages.CLOSE_NONSENSE)

    async def receive_look(self, message: messages.Look) -> None:
        wanted = frozenset(message.cameras)
        if not wanted <= self.allowed.keys():
            self.allowed = await database_sync_to_async(read_camera_sites)(self.scope_now.site_ids)
        if not wanted <= self.allowed.keys():
            await self.end(messages.CLOSE_NO_RIGHT)
            return
        await self._note_watching(wanted)
        self.views = {camera_id: self._view_of(camera_id) for camera_id in wanted}
        self.under_way = {camera_id: sent for camera_id, sent in self.under_way.items() if camera_id in wanted}
        hub().look(self, frozenset(self.views.values()))
        for camera_id, view in self.views.items():
            if newest := hub().newest.get(view):
                await self.preview_came(camera_id, *newest)

    def _view_of(self, camera_id: int) -> View:
        """The camera as this person may see it."""
        return View(camera_id, pixelated=not self.scope_now.may(Right.SEE_FACES, self.allowed[camera_id]))

    async def _note_watching(self, cameras: frozenset[int]) -> None:
        """Each camera goes into the audit log once when it is first looked at, and once at the end of all watching.

        A look is noted before its first picture is sent.
        """
        action = Action.LIVE_STARTED if cameras else Action.LIVE_STOPPED
        which = cameras - self.noted if cameras else self.noted
        self.noted = self.noted | cameras if cameras else frozenset()
        if which:
            await database_sync_to_async(note_live)(self.user_id, action, which, self.address)

    async def receive_ack(self, message: messages.PreviewAck) -> None:
        number, _ = self.under_way.get(message.camera, (None, 0.0))
        if number != message.number:
            return
        del self.under_way[message.camera]
        view = self.views.get(message.camera)
        if view is not None and (newest := hub().newest.get(view)):
            await self.preview_came(message.camera, *newest)

    async def receive_missed(self, message: messages.Missed) -> None:
        after = {site_id: number for site_id, number in message.after.items() if site_id in self.scope_now.site_ids}
        upto, bodies = await database_sync_to_async(read_missed)(after)
        for body in bodies:
            await self._tell_event(body)
        await self.tell({"type": "caught-up", "feeds": upto})

    # -- from the hub -----------------------------------------------------------------------------------------------

    def looks_at(self) -> frozenset[View]:
        late = {camera_id for camera_id, (_, at) in self.under_way.items() if now_s() - at > UNACKED_S}
        return frozenset(view for camera_id, view in self.views.items() if camera_id not in late)

    async def preview_came(self, camera_id: int, number: int, preview: bytes) -> None:
        """Send it, unless one is under way: then the latest is sent when that one is acknowledged."""
        if camera_id not in self.views or camera_id in self.under_way or self.sent.get(camera_id) == number:
            return
        self.under_way[camera_id] = (number, now_s())
        self.sent[camera_id] = number
        await self.send(bytes_data=preview)

    async def heartbeat(self, feeds: dict[str, dict[str, int]]) -> None:
        own = {key: value for key, value in feeds.items() if int(key) in self.scope_now.site_ids}
        await self.tell({"type": "heartbeat", "now": time.time(), "feeds": own})

    # -- from the channel layer -------------------------------------------------------------------------------------

    async def site_event(self, event: dict[str, Any]) -> None:
        if event["body"]["type"] == messages.GoneMessage.type:
            thumbnail.cache_clear()
        if event["body"]["site"] in self.scope_now.site_ids:
            await self._tell_event(event["body"])

    async def _tell_event(self, body: dict[str, Any]) -> None:
        """Send an event, with the picture as this person may see it if the violation is new."""
        if body["type"] == "violation" and is_new(body):
            faces = self.scope_now.may(Right.SEE_FACES, body["site"])
            audience = Audience.FACES if faces else Audience.PIXELATED
            picture = await database_sync_to_async(thumbnail)(body["id"], body["snapshot_at"], audience)
            if picture:
                await database_sync_to_async(looks.note_push)(self.user_id, self.address, UUID(body["id"]))
            body = body | {"picture": picture}
        await self.tell(body)


def language_of(scope: Any) -> str:
    """The language of this person's pages: their own, or the first of their browser's that we have."""
    own = scope["user"].language
    if own in dict(settings.LANGUAGES):
        return str(own)
    headers = {name: value.decode("latin-1") for name, value in scope.get("headers", ())}
    for wanted, _weight in parse_accept_lang_header(headers.get(b"accept-language", "").lower()):
        with suppress(LookupError):
            return get_supported_language_variant(wanted)
    return settings.LANGUAGE_CODE


def note_live(user_id: int, action: Action, camera_ids: frozenset[int], address: str) -> None:
    rows = Camera.objects.filter(pk__in=camera_ids).select_related("site").order_by("name")
    audit.note_live(user_id, action, [(row.site, row.name) for row in rows], address)


def is_new(body: dict[str, Any]) -> bool:
    """Whether a page may want to show this violation's picture at once."""
    age = datetime.now(UTC) - datetime.fromisoformat(body["opened_at"])
    return bool(body["status"] == Violation.Status.OPEN and age < PICTURE_FOR)


@lru_cache(maxsize=64)
def thumbnail(violation_id: str, snapshot_at: str, audience: Audience) -> str:
    """A small picture as a data: address, made once for all sockets of this process; empty if it is gone."""
    violation = Violation.objects.filter(pk=UUID(violation_id)).first()
    if violation is None:
        return ""
    try:
        picture = render(violation, audience, PictureView.THUMBNAIL)
    except PictureGoneError:
        return ""
    return "data:image/jpeg;base64," + base64.b64encode(picture).decode()


def read_state(site_ids: frozenset[int]) -> tuple[dict[str, dict[str, int]], list[dict[str, Any]]]:
    """Feeds and cameras of these sites; two queries."""
    return messages.feeds(site_ids), messages.cameras(site_ids)


def read_camera_sites(site_ids: frozenset[int]) -> dict[int, int]:
    return dict(Camera.objects.filter(site_id__in=site_ids, deleted_at__isnull=True).values_list("pk", "site_id"))


def read_missed(after: dict[int, int]) -> tuple[dict[str, int], list[dict[str, Any]]]:
    """Up to which number each site was read, and its newest MOST_MISSED violations above that number, oldest first.

    One query per site, and one more.
    """
    found: list[Violation] = []
    upto = {site: entry["number"] for site, entry in messages.feeds(frozenset(after)).items()}
    for site_id, number in after.items():
        rows = Violation.objects.filter(site_id=site_id, event_number__gt=number).order_by("-event_number")
        found += messages.with_names(rows)[:MOST_MISSED]
    found.sort(key=lambda row: row.event_number)
    return upto, [messages.violation(row) for row in found]
