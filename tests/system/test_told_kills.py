"""Any process is killed at any moment, the receivers too: each event still reaches each receiver, known by its id."""

from __future__ import annotations

import json
import os
import random
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from aiosmtpd.controller import Controller

from portal.server import mqtt_latency
from tests.portal.alerts.brokers import Mosquitto, Subscriber
from tests.portal.alerts.conftest import MailServer, Receiver
from tests.portal_process import PortalProcess, free_port, python_in, wait_for

pytestmark = pytest.mark.slow

KILLS = 50
PROCESSES = ("jobs@", "jobs@", "streams@", "uvicorn", "redbeat", "valkey-server")

SET_UP = """
from cameras.models import Site; from cameras.reach.credentials import seal
from portal.models import *
for site in Site.objects.all():
    hook = Destination.objects.create(site=site, name="hook", sealed_address=seal("{hook}"),
                                      sealed_secret=seal("whsec_YQ=="))
    rule = Rule.objects.create(site=site, name="all", topics=["no_mask", "incorrect", "outage"], during="always",
                               roles=["manager"], by_push=False)
    rule.destinations.set([hook])
"""
STOP = "from cameras.models import Camera\nCamera.objects.update(paused=True)"
# What waits for the end of a window is due at once: the test does not wait for ten minutes.
DUE = """
from django.utils import timezone
from portal.models import Delivery, Violation
Delivery.objects.filter(state="waiting", tries=0).update(next_at=timezone.now())
print(Delivery.objects.exclude(state="sent").count() + Violation.objects.filter(ended_at=None).count())
"""
ROWS = """
import json
from portal.models import *
rows = list(Delivery.objects.values_list("lane", "event", "key", "violation_id", "state"))
print(json.dumps([[[str(each) for each in row] for row in rows],
                  [str(key) for key in Violation.objects.values_list("pk", flat=True)]]))
"""


def test_fifty_kills_and_every_event_reaches_every_receiver(
    portals: Callable[..., PortalProcess], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    seed = int(os.environ.get("KILLS_SEED", str(random.randrange(2**32))))
    kills, moments = int(os.environ.get("KILLS", str(KILLS))), random.Random(seed)
    mail, broker = MailServer(), Mosquitto(tmp_path)
    controller = Controller(mail, hostname="127.0.0.1", port=free_port())
    controller.start()
    broker.start()
    with Receiver() as hook:
        threading.Thread(target=hook.serve_forever, daemon=True).start()
        ears = Subscriber(broker.port)
        given = {
            "EMAIL_URL": f"smtp://127.0.0.1:{controller.port}", "MQTT_URL": broker.url,
            "CAMERA_NETWORKS": "127.0.0.0/8",
        }  # fmt: skip
        portal = portals(tmp_path / "data", environment=given).start()
        python_in(portal, SET_UP.format(hook=f"{hook.url}/hook"))
        counts: dict[str, int] = {}
        for _kill in range(kills):
            until = time.time() + moments.uniform(0.3, 6)
            wait_for(lambda at=until: time.time() > at, 20, "the next moment")  # type: ignore[misc]
            whom = moments.choice([*PROCESSES, "the broker"])
            counts[whom] = counts.get(whom, 0) + 1
            hook.status = moments.choice((200, 200, 200, 503))
            if whom == "the broker":
                broker.kill()
                broker.start()
            else:
                for pid in portal.pids(whom):
                    os.kill(pid, signal.SIGKILL)
        hook.status = 200
        wait_for(lambda: portal.pids("streams@") and portal.pids("jobs@"), 90, "all to run again")
        portal.close_shell()  # its connections were killed, too
        python_in(portal, STOP)
        wait_for(lambda: not int(python_in(portal, DUE).split()[-1]), 300, "all to be sent")
        rows, violations = json.loads(python_in(portal, ROWS).strip().splitlines()[-1])
        by_hook = [headers["webhook-id"] for _, _, headers, _ in hook.calls]
        by_mqtt = [body["delivery"] for body in (*ears.bodies("/violation"), *ears.bodies("/alarm"))]
        by_mail = [str(one["Message-ID"])[1:37] for one in mail.mails]
        ears.stop()
    broker.kill()
    controller.stop()
    lost = {
        "webhook": {key for lane, _, key, *_ in rows if lane.startswith("destination:")} - set(by_hook),
        "mqtt": {key for lane, _, key, *_ in rows if lane == "mqtt"} - set(by_mqtt),
    }
    untold = {
        way: set(violations)
        - {key for lane, event, _, key, _ in rows if lane.startswith(way) and event == "violation.opened"}
        for way in ("mqtt", "destination:", "email:")
    }
    with capsys.disabled():
        print(
            f"\nseed {seed}: {sum(counts.values())} kills {counts}; "
            f"{len(violations)} violations, {len(rows)} deliveries; "
            f"webhook {len(by_hook)} calls, MQTT {len(by_mqtt)}, mails {len(by_mail)}; "
            f"lost {[len(keys) for keys in lost.values()]}; twice {len(by_hook) - len(set(by_hook))} and "
            f"{len(by_mqtt) - len(set(by_mqtt))}"
        )
    assert violations and not any(lost.values()) and not any(untold.values())
    assert all(state == "sent" for *_, state in rows)


def test_a_thousand_violations_a_minute_arrive_complete_and_soon(tmp_path: Path) -> None:
    broker = Mosquitto(tmp_path)
    broker.start()
    try:
        figures = mqtt_latency.measure(broker.url, 1000)
    finally:
        broker.kill()
    print(figures)
    assert (figures.arrived, figures.doubled) == (1000, 0) and figures.p95_ms < 300
