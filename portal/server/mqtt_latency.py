"""How long events take to a subscriber, measured: `manage.py bench mqtt`.

A portal of its own is started in a temporary folder and publishes at the broker that is given, under a path of its own.
Violations are recorded as a worker's findings are, evenly over a minute; a subscriber notes when each arrives.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion

from portal.alerts.mqtt import broker, discovery
from portal.server.slow_peers import ROOT, portal

OVER_S = 60.0
ARRIVES_WITHIN_S = 30.0

# Runs with Django in the portal's DATA_DIR; prints "id seconds" after each commit, with the clock of this machine.
RECORD = """
import io, sys, time
import django
django.setup()
from PIL import Image
from cameras.models import Camera, CameraLease, Site
from cameras.watching import leases
from cameras.watching.spool import Record
from detection import make_key
from portal.events.recording import record
count, over_s = int(sys.argv[1]), float(sys.argv[2])
site = Site.objects.create(name="Measured")
camera = Camera.objects.create(site=site, name="Measured", address="x.mp4", paused=True)
CameraLease.objects.create(camera=camera)
leases.take(camera.pk, 0, "measured")
out = io.BytesIO()
Image.new("RGB", (640, 360)).save(out, "JPEG")
began = time.time()
for number in range(count):
    time.sleep(max(0.0, began + number * over_s / count - time.time()))
    now, passage, key = time.time(), make_key(time.time()), make_key(time.time())
    base = {"camera": camera.pk, "token": 1, "seq": 1, "label": "no_mask", "confidence": 0.9, "started_at": now,
            "last_seen_at": now, "ended_at": None, "box": [0.4, 0.3, 0.6, 0.7]}
    record(Record(base | {"kind": "passage", "key": str(passage)}))
    more = {"kind": "violation", "key": str(key), "passage": str(passage), "opened_at": now, "snapshot_at": now}
    record(Record(base | more, out.getvalue()))
    print(key, time.time(), flush=True)
"""


@dataclass(frozen=True)
class Latency:
    """Violations that were recorded, and how long each took from its commit to the subscriber, in milliseconds."""

    sent: int
    arrived: int
    doubled: int
    seconds: float
    median_ms: float
    p95_ms: float
    slowest_ms: float


def measure(url: str, violations: int, over_s: float = OVER_S) -> Latency:
    """Raises ValueError for an address that is none, OSError if no broker answers there."""
    to = broker.parse(url)
    prefix = f"measured/{uuid4().hex[:8]}"
    arrived: dict[str, list[float]] = {}
    connected = threading.Event()

    left: set[str] = set()  # topics that are retained because of us

    def note(client: paho.Client, data: object, message: paho.MQTTMessage) -> None:
        if not message.payload:
            return  # we clear it
        if message.topic.startswith(prefix) or prefix.encode() in message.payload:
            left.add(message.topic)
        if message.topic.endswith("/available") and message.payload == b"online":
            connected.set()
        elif message.topic.endswith("/violation"):
            arrived.setdefault(str(json.loads(message.payload)["id"]), []).append(time.time())

    client = paho.Client(CallbackAPIVersion.VERSION2)
    client.username_pw_set(to.user, to.password) if to.user else None
    client.on_message = note
    client.connect(to.host, to.port)
    client.subscribe([(f"{prefix}/#", 1), (discovery.ALL, 1)])
    client.loop_start()
    login = f"{to.user}:{to.password}@" if to.user else ""
    with tempfile.TemporaryDirectory() as folder:
        given = {"DATA_DIR": folder, "MQTT_URL": f"mqtt://{login}{to.host}:{to.port}/{prefix}"}
        with portal(**given):
            if not connected.wait(ARRIVES_WITHIN_S):
                raise OSError("The portal does not get through to it.")
            command = [sys.executable, "-c", RECORD, str(violations), str(over_s)]
            environment = os.environ | given | {"DJANGO_SETTINGS_MODULE": "portal.settings", "DEMO": "0"}
            run = subprocess.run(command, cwd=ROOT, env=environment, check=True, capture_output=True, text=True)  # noqa: S603
            committed = {key: float(at) for key, at in (line.split() for line in run.stdout.splitlines())}
            until = time.monotonic() + ARRIVES_WITHIN_S
            while len(arrived) < len(committed) and time.monotonic() < until:
                time.sleep(0.1)
    for topic in left:
        client.publish(topic, b"", 1, retain=True).wait_for_publish(5)
    client.disconnect()
    client.loop_stop()
    return figures_of(committed, arrived)


def figures_of(committed: dict[str, float], arrived: dict[str, list[float]]) -> Latency:
    took: list[Any] = sorted(max(0.0, arrived[key][0] - at) * 1000 for key, at in committed.items() if key in arrived)
    if not took:
        raise OSError("Nothing arrived.")
    seconds, p95 = max(committed.values()) - min(committed.values()), took[int(len(took) * 0.95)]
    doubled = sum(len(times) > 1 for times in arrived.values())
    return Latency(len(committed), len(took), doubled, seconds, statistics.median(took), p95, took[-1])
