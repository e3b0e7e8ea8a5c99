"""Keeps the connection to the broker, and publishes: events from the outbox in their order, and what is so now.

An event's row is sent when the broker has acknowledged it (QoS 1): until then it is published again over the next
connection, so a broker that is away loses none, and a receiver drops what it has by `delivery`. What is retained is
published anew over each connection, and when it changes. One process a portal publishes at a time.
"""

from __future__ import annotations

import hashlib
import logging
import queue
import ssl
import threading
import time
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from uuid import uuid4

import paho.mqtt.client as paho
from django.conf import settings
from django.db import DatabaseError, close_old_connections, connections
from django.utils import timezone
from django.utils.translation import gettext as _
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode
from redis.exceptions import LockError
from redis.lock import Lock

from cameras.models import Camera
from cameras.redis import Errors, connection, subscription
from portal.alerts import waking
from portal.alerts.mqtt import broker, commands, discovery, topics
from portal.alerts.mqtt.broker import Broker
from portal.alerts.mqtt.topics import VERSION, Publication
from portal.alerts.outbox import GIVE_UP_AFTER, waiting
from portal.alerts.rules import MQTT_LANE
from portal.models import Delivery, Violation, policy_of
from portal.people import audit, looks
from portal.people.access import Audience
from portal.people.pictures import PictureGoneError, PictureView, render
from portal.voice import broker as voice_broker

log = logging.getLogger(__name__)

LEASE_KEY, LEASE_S = "mqtt-publisher", 15.0
AGAIN_S = 1.0  # until the next try to connect
CONNECT_S = 10.0
SETTLE_S = 0.5  # after subscribing, for what is retained to arrive
STATES_S, FIGURES_S = 1.0, 60.0
MOST_IN_FLIGHT = 200
ACKNOWLEDGED_WITHIN_S = 20.0
LOOK_S = 0.25
AVAILABLE, OWNER = "available", "portal"
State = Delivery.State


class BrokerError(Exception):
    """The connection cannot be made, or is of no use any more; the text is a sentence for managers."""


def portal_id() -> str:
    """A short name of this installation: the same as long as its secret key is."""
    return hashlib.sha256(f"mqtt:{settings.SECRET_KEY}".encode()).hexdigest()[:8]


class Publisher:
    """Publishes until `stopping` is set."""

    def __init__(self, url: str, stopping: threading.Event) -> None:
        self._broker = broker.parse(url)
        self._stopping = stopping

    def run(self) -> None:
        lease = Lock(connection(), LEASE_KEY, timeout=LEASE_S, blocking=False, thread_local=False)
        while not self._stopping.is_set():
            try:
                if lease.acquire():
                    try:
                        Session(self._broker, self._stopping, lease).run()
                    finally:
                        with suppress(LockError, *Errors):  # it may be lost, or Redis away
                            lease.release()
            except BrokerError as error:
                note_trouble(str(error))
            except (*Errors, LockError, DatabaseError) as error:
                log.warning("MQTT waits: %s", type(error).__name__)
            except Exception:
                log.exception("publishing by MQTT failed, and begins anew")
            finally:
                close_old_connections()
            self._stopping.wait(AGAIN_S)
        connections.close_all()


def note_trouble(text: str) -> None:
    """Kept for the dashboard's notices while it lasts."""
    log.warning("MQTT: %s", text)
    with suppress(*Errors):
        connection().set(waking.TROUBLE_KEY, text, ex=waking.TROUBLE_S)


@dataclass
class Flight:
    """A message that the broker has not acknowledged: an event's row, or what a door says."""

    row: int | None
    saying: str
    since: float


class Session:
    """One connection, from its beginning to its end."""

    def __init__(self, to: Broker, stopping: threading.Event, lease: Lock) -> None:
        self._to, self._stopping, self._lease = to, stopping, lease
        self._portal = portal_id()
        self._connected, self._lost = threading.Event(), threading.Event()
        self._refused = ""
        self._acknowledged: queue.SimpleQueue[int] = queue.SimpleQueue()
        self._heard: queue.SimpleQueue[tuple[str, bytes, bool]] = queue.SimpleQueue()
        self._flights: dict[int, Flight] = {}
        self._told: dict[str, bytes] = {}
        self._announced: set[int] = set()
        self._owner, self._owner_lives = "", False
        self._client = self._make_client()

    def _make_client(self) -> paho.Client:
        client = paho.Client(CallbackAPIVersion.VERSION2, client_id=f"facemask-{self._portal}-{uuid4().hex[:8]}")
        client.connect_timeout = CONNECT_S
        client.max_inflight_messages_set(MOST_IN_FLIGHT)
        if self._to.user:
            client.username_pw_set(self._to.user, self._to.password)
        if self._to.tls:
            context = ssl.create_default_context(cafile=self._to.ca or None)
            if self._to.cert:
                context.load_cert_chain(self._to.cert, self._to.key)
            client.tls_set_context(context)
        client.will_set(self._name(AVAILABLE), topics.OFFLINE, qos=1, retain=True)
        client.on_connect, client.on_disconnect = self._on_connect, self._on_disconnect
        client.on_publish, client.on_message = self._on_publish, self._on_message
        return client

    def _name(self, topic: str) -> str:
        return f"{self._to.prefix}/{VERSION}/{topic}"

    # -- in paho's thread: only notes, quickly ------------------------------------------------------------------------

    def _on_connect(
        self, client: paho.Client, data: object, flags: paho.ConnectFlags, code: ReasonCode, more: Properties | None
    ) -> None:
        if code.is_failure:
            self._refused = str(code)
            self._lost.set()
        self._connected.set()

    def _on_disconnect(
        self, client: paho.Client, data: object, flags: paho.DisconnectFlags, code: ReasonCode, more: Properties | None
    ) -> None:
        self._lost.set()

    def _on_publish(
        self, client: paho.Client, data: object, mid: int, code: ReasonCode, more: Properties | None
    ) -> None:
        self._acknowledged.put(mid)

    def _on_message(self, client: paho.Client, data: object, message: paho.MQTTMessage) -> None:
        self._heard.put((message.topic, bytes(message.payload[: commands.MOST_BYTES + 1]), message.retain))

    # -- in ours ------------------------------------------------------------------------------------------------------

    def run(self) -> None:
        try:
            self._connect()
            self._settle()
            with subscription(waking.CHANNEL) as woken:
                self._work_until_lost(woken)
        finally:
            self._close()

    def _connect(self) -> None:
        try:
            self._client.connect(self._to.host, self._to.port, keepalive=15)
        except (OSError, ValueError) as error:
            raise BrokerError(_("The MQTT broker does not answer. Events wait for up to a day.")) from error
        self._client.loop_start()
        if not self._connected.wait(CONNECT_S):
            raise BrokerError(_("The MQTT broker accepts the connection, but does not answer."))
        if self._refused:
            raise BrokerError(_("The MQTT broker refuses the portal: %(why)s.") % {"why": self._refused})

    def _settle(self) -> None:
        """Subscribe; hear what is retained; then, unless another portal lives under these topics, take them."""
        names = [self._name(OWNER), self._name(AVAILABLE), self._name("+/+/set"), discovery.BIRTH, discovery.ALL]
        self._client.subscribe([(name, 1) for name in names])
        self._lost.wait(SETTLE_S)
        self._hear()
        if self._owner not in ("", self._portal) and self._owner_lives:
            told = _(
                "Another portal publishes under “%(prefix)s” at this MQTT broker. "
                "Give this one a path of its own, like MQTT_URL=mqtt://broker/office."
            )
            raise BrokerError(told % {"prefix": self._to.prefix})
        self._owner = self._portal
        self._publish(Publication(OWNER, self._portal.encode(), retain=True).under(self._to.prefix))
        self._publish_available()
        old = waiting(MQTT_LANE).filter(created_at__lt=timezone.now() - GIVE_UP_AFTER)
        old.update(state=State.FAILED, why=_("The MQTT broker was away for a day."))
        connection().delete(waking.TROUBLE_KEY)
        log.info("MQTT: connected")

    def _publish_available(self) -> None:
        self._publish(Publication(AVAILABLE, topics.ONLINE.encode(), retain=True).under(self._to.prefix))

    def _work_until_lost(self, woken: object) -> None:
        next_states, next_figures, renewed = 0.0, 0.0, time.monotonic()
        while not (self._stopping.is_set() or self._lost.is_set()):
            self._take_acknowledged()
            self._hear()
            self._send_rows()
            self._send_sayings()
            now = time.monotonic()
            if now >= next_states:
                self._send_states(with_figures=now >= next_figures)
                next_states = now + STATES_S
                next_figures = now + FIGURES_S if now >= next_figures else next_figures
            if now - renewed > LEASE_S / 3:
                self._lease.extend(LEASE_S, replace_ttl=True)
                renewed = now
            if any(now - flight.since > ACKNOWLEDGED_WITHIN_S for flight in self._flights.values()):
                raise BrokerError(_("The MQTT broker does not acknowledge what it gets."))
            woken.get_message(timeout=LOOK_S)  # type: ignore[attr-defined]

    def _close(self) -> None:
        """Say goodbye if there is somebody to say it to; otherwise the broker publishes the last will."""
        try:
            if self._connected.is_set() and not self._lost.is_set() and self._owner == self._portal:
                gone = Publication(AVAILABLE, topics.OFFLINE.encode(), retain=True).under(self._to.prefix)
                self._client.publish(gone.topic, gone.payload, gone.qos, gone.retain).wait_for_publish(1.0)
        except (RuntimeError, ValueError):
            log.debug("the goodbye was not taken; the last will says it")
        finally:
            self._client.disconnect()
            self._client.loop_stop()
        self._take_acknowledged()

    # -- out ----------------------------------------------------------------------------------------------------------

    def _publish(self, given: Publication, row: int | None = None, saying: str = "") -> None:
        told = self._client.publish(given.topic, given.payload, given.qos, given.retain)
        if told.rc != paho.MQTT_ERR_SUCCESS:
            self._lost.set()
        elif row is not None or saying:
            self._flights[told.mid] = Flight(row, saying, time.monotonic())

    def _send_rows(self) -> None:
        """Events that were not published over this connection, oldest first, as many as may be under way."""
        room = MOST_IN_FLIGHT - len(self._flights)
        if room <= 0 or self._lost.is_set():
            return
        flying = [flight.row for flight in self._flights.values() if flight.row is not None]
        rows = waiting(MQTT_LANE).exclude(pk__in=flying).order_by("pk")
        for row in rows.select_related("violation__camera__site__policy", "site")[:room]:
            self._publish(topics.of_delivery(row).under(self._to.prefix), row=row.pk)
            self._send_picture(row)

    def _send_picture(self, row: Delivery) -> None:
        violation = row.violation
        if row.event != Delivery.Event.VIOLATION_OPENED or violation is None:
            return
        if policy_of(violation.camera.site).mqtt_pictures:
            self._publish_picture(violation)

    def _publish_picture(self, violation: Violation) -> None:
        try:
            data = render(violation, Audience.FACES, PictureView.THUMBNAIL)
        except PictureGoneError:
            return
        topic = f"{violation.site_id}/{violation.camera_id}/snapshot"
        self._publish(Publication(topic, data, qos=0).under(self._to.prefix))
        audit.note(None, audit.Action.SENT_PICTURE, f"{looks.describe(violation)} (MQTT)", violation.camera.site)

    def _send_sayings(self) -> None:
        while (saying := voice_broker.next_saying()) is not None:
            body = {"text": saying.text, "language": saying.language, "audio_url": saying.audio_url}
            given = Publication(f"{saying.site}/{saying.camera}/say", topics.as_json(body))
            self._publish(given.under(self._to.prefix), saying=saying.reminder)

    def _send_states(self, *, with_figures: bool) -> None:
        """What is retained, where it differs from what was last published; what is gone is cleared."""
        cameras = topics.cameras_now()
        now = timezone.now()
        wanted = [*topics.present(cameras)]
        if with_figures:
            wanted += topics.people(cameras, now)
            wanted += topics.compliance({each.site_id: each.site for each in cameras}.values(), now)
        announced = discovery.announce(cameras, self._to.prefix, self._portal)
        found = [*(each.under(self._to.prefix) for each in wanted), *announced]
        for each in found:
            if not each.retain:
                self._publish(each)
            elif self._told.get(each.topic) != each.payload:
                self._publish(each)
                self._told[each.topic] = each.payload
        self._clear_gone(cameras)

    def _clear_gone(self, cameras: Iterable[Camera]) -> None:
        here = {each.pk: each.site_id for each in cameras}
        for pk in self._announced - here.keys():
            self._publish(Publication(discovery.topic_of(self._portal, pk), b"", retain=True))
            site = Camera.objects.filter(pk=pk).values_list("site_id", flat=True).first()
            for what in ("state", "reminder") if site is not None else ():
                self._publish(Publication(f"{site}/{pk}/{what}", b"", retain=True).under(self._to.prefix))
        self._announced = set(here)
        kept = {self._name(f"{site_id}/{pk}/{what}") for pk, site_id in here.items() for what in ("state", "reminder")}
        kept |= {discovery.topic_of(self._portal, pk) for pk in here}
        kept |= {self._name(f"{site_id}/compliance") for site_id in here.values()}
        for topic in [each for each in self._told if each not in kept]:
            self._publish(Publication(topic, b"", retain=True))
            del self._told[topic]

    # -- in -----------------------------------------------------------------------------------------------------------

    def _take_acknowledged(self) -> None:
        rows = []
        while not self._acknowledged.empty():
            flight = self._flights.pop(self._acknowledged.get(), None)
            if flight is None:
                continue
            if flight.row is not None:
                rows.append(flight.row)
            else:
                voice_broker.note_taken(flight.saying)
        if rows:
            Delivery.objects.filter(pk__in=rows).update(state=State.SENT, sent_at=timezone.now(), why="")

    def _hear(self) -> None:
        while not self._heard.empty():
            topic, payload, is_retained = self._heard.get()
            if topic == self._name(OWNER):
                self._owner = payload.decode(errors="replace")
            elif topic == self._name(AVAILABLE):
                self._hear_available(payload)
            elif topic == discovery.BIRTH:
                if payload == b"online" and not is_retained:
                    self._told = {}  # Home Assistant has just started: everything is published anew
            elif (camera_id := discovery.camera_of(topic, self._portal)) is not None:
                if payload:
                    self._announced.add(camera_id)
            elif not is_retained:  # a command that is retained would be obeyed again over each connection
                commands.obey(topic.removeprefix(self._name("")), payload)

    def _hear_available(self, payload: bytes) -> None:
        self._owner_lives = payload == topics.ONLINE.encode()
        if not self._owner_lives and self._owner == self._portal and self._told:
            self._publish_available()  # the will of a connection before this one came late
