"""MQTT against a real broker: what is published, what is obeyed, and a broker that goes and comes back."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from django.db import transaction
from django.utils import timezone

from cameras.models import Camera, CameraLease, Site
from cameras.redis import connection
from portal.alerts import waking
from portal.alerts.happenings import iso
from portal.alerts.mqtt import broker, discovery, topics
from portal.alerts.mqtt.publisher import Publisher, portal_id
from portal.events import notices
from portal.events.review import review
from portal.models import AuditEntry, CameraQuiet, Delivery, SitePolicy, Voice
from portal.voice import reminding
from tests.portal.alerts.brokers import Mosquitto, Subscriber
from tests.portal_process import wait_for
from tests.worlds import World, see, set_policy

pytestmark = pytest.mark.django_db(transaction=True)
GOLDEN = Path(__file__).with_name("mqtt.json")


@pytest.fixture
def mosquitto(tmp_path: Path, settings: Any) -> Iterator[Mosquitto]:
    server = Mosquitto(tmp_path)
    server.start()
    settings.MQTT_URL = server.url
    yield server
    server.kill()


@pytest.fixture
def ears(mosquitto: Mosquitto) -> Iterator[Subscriber]:
    subscriber = Subscriber(mosquitto.port)
    yield subscriber
    subscriber.stop()


@pytest.fixture
def publish(settings: Any) -> Iterator[Callable[..., threading.Event]]:
    """Starts publishers, as the job worker does; returns what stops one."""
    running: list[tuple[threading.Event, threading.Thread]] = []

    def start(url: str = "") -> threading.Event:
        stopping = threading.Event()
        thread = threading.Thread(target=Publisher(url or settings.MQTT_URL, stopping).run, daemon=True)
        thread.start()
        running.append((stopping, thread))
        return stopping

    yield start
    for stopping, thread in running:
        stopping.set()
        thread.join(10)


def online(camera: Camera) -> None:
    CameraLease.objects.filter(camera=camera).update(state="online")


def is_sent(count: int) -> bool:
    return Delivery.objects.filter(lane="mqtt", state="sent").count() == count


def test_states_are_retained_and_follow_within_seconds(
    world: World, ears: Subscriber, publish: Callable[..., threading.Event]
) -> None:
    online(world.door)
    stop = publish()
    door, hall = (f"facemask/v1/{each.site_id}/{each.pk}" for each in (world.door, world.hall))
    wait_for(lambda: ears.last(f"{door}/state") == b"online", 5, "the first state")
    wait_for(lambda: ears.last(f"{hall}/state") == b"offline", 5, "the other one's")
    assert ears.last("facemask/v1/available") == b"online"
    Camera.objects.filter(pk=world.door.pk).update(paused=True)
    wait_for(lambda: ears.last(f"{door}/state") == b"paused", 5, "the pause")
    stop.set()
    wait_for(lambda: ears.last("facemask/v1/available") == b"offline", 5, "the goodbye")


def test_a_violation_is_opened_updated_closed_and_reviewed_in_order(
    world: World, ears: Subscriber, publish: Callable[..., threading.Event]
) -> None:
    publish()
    found = see(world.door)
    see_again(world, found.pk, 2, label="incorrect")
    see_again(world, found.pk, 3, label="incorrect", ended_at=time.time())
    review(world.bob, {found.pk: 0}, "confirmed", "He had forgotten it.")
    wait_for(lambda: len(ears.bodies("/violation")) == 4, 5, "four events")
    bodies = ears.bodies("/violation")
    assert [body["event_type"] for body in bodies] == ["opened", "updated", "closed", "reviewed"]
    assert {body["id"] for body in bodies} == {str(found.pk)} and len({body["delivery"] for body in bodies}) == 4
    assert bodies[-1]["status"] == "confirmed" and "forgotten" not in json.dumps(bodies), "notes stay here"
    assert not any(retained for name, _, retained in ears.heard if name.endswith("/violation"))
    wait_for(lambda: is_sent(4), 5, "the rows to be marked")


def see_again(world: World, key: UUID, seq: int, **body: Any) -> None:
    from portal.events.recording import record
    from portal.models import Violation
    from tests.worlds import violation_record

    violation = Violation.objects.get(pk=key)
    began = violation.started_at.timestamp()
    record(violation_record(world.door, key, violation.passage_id, 1, seq, started_at=began, **body))


def test_a_broker_that_is_killed_gets_the_gaps_events_in_order_and_states_within_five_seconds(
    world: World, mosquitto: Mosquitto, ears: Subscriber, publish: Callable[..., threading.Event]
) -> None:
    publish()
    first = see(world.door)
    wait_for(lambda: is_sent(1), 5, "the first")
    mosquitto.kill()
    gap = [see(world.door) for _ in range(20)]
    online(world.door)
    assert not is_sent(21)
    mosquitto.start()
    back = time.monotonic()
    state = f"facemask/v1/{world.here.pk}/{world.door.pk}/state"
    wait_for(lambda: ears.last(state) == b"online", 5, "the state")
    wait_for(lambda: is_sent(21), 5 - (time.monotonic() - back) + 1, "the gap's events")
    wait_for(lambda: len(ears.bodies("/violation")) >= 21, 5, "them to be heard")
    ids = list(dict.fromkeys(body["id"] for body in ears.bodies("/violation")))
    assert ids == [str(each.pk) for each in (first, *gap)]
    wait_for(lambda: ears.last("facemask/v1/available") == b"online", 5, "online after the will")


def test_names_cannot_reach_into_topics(
    world: World, ears: Subscriber, publish: Callable[..., threading.Event]
) -> None:
    Site.objects.filter(pk=world.here.pk).update(name="a/b #+ “c”")
    Camera.objects.filter(pk=world.door.pk).update(name="#/+")
    publish()
    see(Camera.objects.get(pk=world.door.pk))
    wait_for(lambda: ears.bodies("/violation"), 5, "the event")
    (body,) = ears.bodies("/violation")
    assert body["site"]["name"] == "a/b #+ “c”"
    base = f"facemask/v1/{world.here.pk}"
    assert all(name.startswith(("facemask/v1/", "homeassistant/device/")) for name, _, _ in ears.heard)
    wait_for(lambda: ears.last(f"{base}/compliance"), 5, "the figures")


def test_commands_are_obeyed_where_the_site_allows_them(
    world: World, ears: Subscriber, publish: Callable[..., threading.Event]
) -> None:
    set_policy(world.here, mqtt_commands=True)
    Voice.objects.create(camera=world.door, output="loudspeaker")
    door, hall = (f"facemask/v1/{each.site_id}/{each.pk}" for each in (world.door, world.hall))
    ears.say(f"{door}/set", "pause", retain=True)
    publish()
    wait_for(lambda: ears.last(f"{door}/reminder") == b"on", 5, "the first states")
    for topic, words in (
        (f"{hall}/set", b"pause"),  # its site does not allow it
        (f"facemask/v1/{world.there.pk}/{world.door.pk}/set", b"pause"),  # not of that site
        ("facemask/v1/1/99999999999999999999999/set", b"pause"),
        (f"{door}/set", b"\xff\x00" * 40_000),
        (f"{door}/set", b"burn"),
        (f"{door}/set", b"reminder off"),
        (f"{door}/set", b"snooze"),
    ):
        ears.say(topic, words)
    wait_for(lambda: ears.last(f"{door}/reminder") == b"off", 5, "the reminder to be off")
    wait_for(lambda: CameraQuiet.objects.filter(camera=world.door).exists(), 5, "the hour")
    assert not Camera.objects.filter(paused=True).exists(), "nor by what is retained"
    assert not reminding.speaks(Camera.objects.get(pk=world.door.pk))
    ears.say(f"{door}/set", "pause")
    wait_for(lambda: ears.last(f"{door}/state") == b"paused", 5, "the pause")
    ears.say(f"{door}/set", "resume")
    wait_for(lambda: ears.last(f"{door}/state") == b"offline", 5, "the end of it")
    noted = set(AuditEntry.objects.filter(subject="Front door (MQTT)").values_list("action", flat=True))
    assert noted == {"voice-changed", "camera-quiet", "camera-paused", "camera-resumed"}


def test_two_portals_do_not_publish_under_one_path(
    world: World, mosquitto: Mosquitto, ears: Subscriber, publish: Callable[..., threading.Event]
) -> None:
    ears.say("facemask/v1/portal", "another", retain=True)
    ears.say("facemask/v1/available", "online", retain=True)
    publish()
    wait_for(lambda: "mqtt" in notices.current_notices(), 5, "the notice")
    assert "MQTT_URL=mqtt://broker/office" in notices.current_notices()["mqtt"]
    assert ears.last(f"facemask/v1/{world.here.pk}/{world.door.pk}/state") is None
    ears.say("facemask/v1/available", "offline", retain=True)  # the other one is gone: these topics are free
    wait_for(lambda: ears.last("facemask/v1/portal") == portal_id().encode(), 8, "ours")
    wait_for(lambda: "mqtt" not in notices.current_notices(), 5, "the end of the notice")


def test_a_path_keeps_two_portals_apart(world: World, mosquitto: Mosquitto, ears: Subscriber, publish: Any) -> None:
    publish(f"{mosquitto.url}/office/north")
    wait_for(lambda: ears.last("office/north/v1/available") == b"online", 5, "the path")
    assert not any(name.startswith("facemask/") for name, _, _ in ears.heard)


def test_a_broker_that_refuses_hangs_or_is_none_is_said_and_nothing_is_lost(
    world: World, tmp_path: Path, settings: Any, publish: Callable[..., threading.Event]
) -> None:
    passwords = tmp_path / "passwords"
    passwords.write_text("")
    server = Mosquitto(tmp_path, "allow_anonymous false", f"password_file {passwords}")
    server.start()
    settings.MQTT_URL = f"mqtt://portal:wrong@127.0.0.1:{server.port}"
    try:
        stop = publish()
        wait_for(lambda: "refuses the portal" in notices.current_notices().get("mqtt", ""), 8, "the refusal")
        stop.set()
    finally:
        server.kill()
    see(world.door)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        publish(f"mqtt://127.0.0.1:{silent.getsockname()[1]}")
        wait_for(lambda: "does not answer" in notices.current_notices().get("mqtt", ""), 20, "the silence")
    assert Delivery.objects.get(lane="mqtt").state == "waiting"


def test_home_assistant_is_told_of_cameras_and_when_one_goes(
    world: World, ears: Subscriber, publish: Callable[..., threading.Event]
) -> None:
    gone = discovery.topic_of(portal_id(), 4711)
    ears.say(gone, "{}", retain=True)  # left over from a camera that was deleted while nobody published
    ears.say("homeassistant/device/facemask_other_1/config", "{}", retain=True)
    publish()
    door, hall = (discovery.topic_of(portal_id(), each.pk) for each in (world.door, world.hall))
    wait_for(lambda: ears.last(door) and ears.last(hall) and ears.last(gone) is None, 5, "the devices")
    assert ears.last("homeassistant/device/facemask_other_1/config") == b"{}"
    count = len(ears.heard)
    ears.say("homeassistant/status", "online")
    wait_for(lambda: any(name == door for name, _, _ in ears.heard[count:]), 5, "them again")
    Camera.objects.filter(pk=world.door.pk).update(deleted_at=timezone.now())
    wait_for(lambda: ears.last(door) is None, 5, "its end")
    state = f"facemask/v1/{world.here.pk}/{world.door.pk}/state"
    wait_for(lambda: ears.last(state) is None, 5, "its state to be cleared")


def test_a_door_speaks_through_the_broker(
    world: World, ears: Subscriber, publish: Callable[..., threading.Event], redis: Any
) -> None:
    Voice.objects.create(camera=world.door, output="mqtt")
    publish()
    wait_for(lambda: ears.last("facemask/v1/available"), 5, "the connection")
    camera = Camera.objects.select_related("voice", "site").get(pk=world.door.pk)
    from portal.voice import broker as voice_broker

    with transaction.atomic():
        reminder = reminding.play_by_hand(camera)
        transaction.set_rollback(True)
    said = voice_broker.say(reminder, camera.voice)
    assert said.sent_at <= timezone.now()
    wait_for(lambda: ears.bodies("/say"), 5, "the sentence")
    (body,) = ears.bodies("/say")
    assert body["text"] and body["language"] == "en" and "/door/voice/" in body["audio_url"]


def test_pictures_leave_only_where_the_site_says_so_and_are_noted(
    world: World, ears: Subscriber, publish: Callable[..., threading.Event]
) -> None:
    set_policy(world.here, mqtt_pictures=True)
    publish()
    see(world.hall)
    see(Camera.objects.select_related("site__policy").get(pk=world.door.pk))
    topic = f"facemask/v1/{world.here.pk}/{world.door.pk}/snapshot"
    wait_for(lambda: ears.last(topic), 5, "the picture")
    assert (ears.last(topic) or b"")[:2] == b"\xff\xd8"
    assert [name for name, _, _ in ears.heard if name.endswith("/snapshot")] == [topic]
    assert AuditEntry.objects.filter(action="sent-picture", site="Harbour House").count() == 1


def test_only_one_process_publishes_and_another_takes_over(
    world: World, ears: Subscriber, publish: Callable[..., threading.Event]
) -> None:
    first = publish()
    wait_for(lambda: ears.last("facemask/v1/available") == b"online", 5, "the first")
    publish()
    see(world.door)
    wait_for(lambda: is_sent(1), 5, "the event")
    first.set()
    wait_for(lambda: ears.last("facemask/v1/available") == b"offline", 5, "its goodbye")
    wait_for(lambda: ears.last("facemask/v1/available") == b"online", 5, "the second")
    see(world.door)
    wait_for(lambda: is_sent(2), 5, "its event")
    assert len(ears.bodies("/violation")) == 2


def test_figures_are_published_with_their_denominator(
    world: World, ears: Subscriber, publish: Callable[..., threading.Event]
) -> None:
    see(world.door)
    see(world.door, label="incorrect")
    publish()
    wait_for(lambda: ears.last(f"facemask/v1/{world.here.pk}/compliance"), 5, "the figures")
    body = json.loads(ears.last(f"facemask/v1/{world.here.pk}/compliance") or b"")
    assert body["last_hour"] == {"seen": 2, "masked": 0, "percent": 0.0} == body["today"] and body["goal"] == 95
    door = f"facemask/v1/{world.here.pk}/{world.door.pk}/people"
    people = json.loads(wait_for(lambda: ears.last(door), 5, "the people of a minute") or b"")
    assert (people["no_mask"], people["incorrect"], people["mask"], people["unsure"]) == (1, 1, 0, 0)
    there = wait_for(lambda: ears.last(f"facemask/v1/{world.there.pk}/compliance"), 5, "the other site's")
    empty = json.loads(there or b"")
    assert empty["today"] == {"seen": 0, "masked": 0, "percent": None}


def certificates(folder: Path) -> None:
    """An authority, and a certificate each for the broker and for the portal, as PEM files."""
    now = datetime.now(UTC)

    def made(name: str, issuer: tuple[x509.Name, ec.EllipticCurvePrivateKey] | None) -> ec.EllipticCurvePrivateKey:
        key, subject = (
            ec.generate_private_key(ec.SECP256R1()),
            x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]),
        )
        by, signs = issuer or (subject, key)
        built = (
            x509.CertificateBuilder().subject_name(subject).issuer_name(by).public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(1)).not_valid_after(now + timedelta(1))
            .add_extension(x509.BasicConstraints(ca=issuer is None, path_length=None), critical=True)
            .add_extension(x509.SubjectAlternativeName([x509.IPAddress(IPv4Address("127.0.0.1"))]), critical=False)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(signs.public_key()), critical=False)
            .sign(signs, hashes.SHA256())
        )  # fmt: skip
        plain = serialization.NoEncryption()
        private = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, plain)
        (folder / f"{name}.key").write_bytes(private)
        (folder / f"{name}.pem").write_bytes(built.public_bytes(serialization.Encoding.PEM))
        return key

    authority = (x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "authority")]), made("authority", None))
    made("broker", authority)
    made("portal", authority)


def test_tls_with_certificates_of_ones_own_and_nothing_without(
    world: World, tmp_path: Path, settings: Any, publish: Callable[..., threading.Event]
) -> None:
    certificates(tmp_path)
    server = Mosquitto(
        tmp_path, "allow_anonymous true", f"cafile {tmp_path}/authority.pem", f"certfile {tmp_path}/broker.pem",
        f"keyfile {tmp_path}/broker.key", "require_certificate true",
    )  # fmt: skip
    server.start()
    settings.MQTT_URL = f"mqtts://127.0.0.1:{server.port}?ca={tmp_path}/authority.pem"
    see(world.door)
    try:
        stop = publish()
        wait_for(lambda: "mqtt" in notices.current_notices(), 12, "the refusal of who has no certificate")
        stop.set()
        publish(f"{settings.MQTT_URL}&cert={tmp_path}/portal.pem&key={tmp_path}/portal.key")
        wait_for(lambda: is_sent(1), 15, "the event")
    finally:
        server.kill()


# -- the contract -----------------------------------------------------------------------------------------------------


def test_the_contract_holds(world: World, settings: Any) -> None:
    """A change of this file is a change for everybody who reads these topics: then the version is a new one."""
    settings.MQTT_URL, settings.BASE_URL = "mqtt://127.0.0.1", "https://masks.example.org"
    SitePolicy.objects.create(site=world.here, mqtt_commands=True, mqtt_pictures=True)
    found = see(world.door, 1_790_000_000.25)
    row = Delivery.objects.get(lane="mqtt", violation=found)
    now = timezone.now()
    camera = Camera.objects.select_related("site__policy", "lease", "voice").get(pk=world.door.pk)
    published = [
        topics.of_delivery(row), *topics.present([camera]), *topics.people([camera], now),
        *topics.compliance([camera.site], now),
    ]  # fmt: skip
    published = [each.under("facemask") for each in published] + discovery.announce([camera], "facemask", "0a1b2c3d")
    text = json.dumps(
        [
            {"topic": each.topic, "qos": each.qos, "retain": each.retain, "payload": each.payload.decode()}
            for each in published
        ]
    )
    for given, name in (
        (str(found.pk), "VIOLATION"), (str(row.key), "DELIVERY"),
        (iso(row.happened_at) or "", "WHEN"), (iso(now) or "", "NOW"),
        (f"/{world.here.pk}/{world.door.pk}/", "/SITE/CAMERA/"), (f"_{world.door.pk}", "_CAMERA"),
        (f"v1/{world.here.pk}/", "v1/SITE/"), (f'\\"id\\":{world.here.pk},', '\\"id\\":SITE,'),
        (f'\\"id\\":{world.door.pk},', '\\"id\\":CAMERA,'),
    ):  # fmt: skip
        text = text.replace(given, name)
    rows = [row | {"payload": row["payload"].replace("SITE", "0").replace("CAMERA", "0")} for row in json.loads(text)]
    got = json.dumps([unfold(row) for row in rows], indent=1, ensure_ascii=False, sort_keys=True) + "\n"
    assert got == GOLDEN.read_text()


def unfold(row: dict[str, Any]) -> dict[str, Any]:
    try:
        return row | {"payload": json.loads(row["payload"])}
    except ValueError:
        return row


@pytest.mark.parametrize(("url", "wrong"), [
    ("http://broker", "begin with mqtt://"), ("mqtt://", "name a host"), ("mqtt://broker:port", "cannot be read"),
    ("mqtt://broker/a#b", None), ("mqtt://broker/a+b", "first part of all topics"), ("mqtt://b/?ca=x", "mqtts"),
    ("mqtts://broker?certificate=x", "certificate is not known"), ("mqtts://broker?cert=x", "both"),
])  # fmt: skip
def test_an_address_that_cannot_be_used_is_said_at_the_start(url: str, wrong: str | None) -> None:
    if wrong is None:
        assert broker.parse(url).prefix == "a"
        return
    with pytest.raises(ValueError, match=wrong):
        broker.parse(url)


def test_an_address_is_read_whole() -> None:
    read = broker.parse("mqtts://me:p%40ss@broker.lan/office/north?ca=/a&cert=/c&key=/k")
    assert (read.host, read.port, read.tls, read.user, read.password) == ("broker.lan", 8883, True, "me", "p@ss")
    assert (read.prefix, read.ca, read.cert, read.key) == ("office/north", "/a", "/c", "/k")


def test_nothing_is_written_for_mqtt_where_there_is_no_broker(world: World, settings: Any) -> None:
    settings.MQTT_URL = ""
    see(world.door)
    assert not Delivery.objects.exists() and connection().exists(waking.TROUBLE_KEY) == 0
