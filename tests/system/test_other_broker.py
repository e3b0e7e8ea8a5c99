"""Another broker than mosquitto, written by others in another language: amqtt, in a virtual environment of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.portal.alerts.brokers import BrokerProcess, Subscriber
from tests.portal_process import PortalProcess, free_port, python_in, wait_for

pytestmark = pytest.mark.slow

VERSION = "0.12.1"
CONFIGURATION = """
listeners:
  default:
    type: tcp
    bind: 127.0.0.1:{port}
plugins:
  amqtt.plugins.authentication.AnonymousAuthPlugin:
    allow_anonymous: true
"""
WAITING = """
from portal.models import Delivery
print(Delivery.objects.filter(lane="mqtt").exclude(state="sent").count())
"""
KEYS = """
from portal.models import Delivery
print(*(str(key) for key in Delivery.objects.filter(lane="mqtt").values_list("key", flat=True)))
"""
STOP = "from cameras.models import Camera\nCamera.objects.update(paused=True)"


class Amqtt(BrokerProcess):
    starts_within_s = 15

    def __init__(self, program: Path, folder: Path) -> None:
        self.port, config = free_port(), folder / "amqtt.yaml"
        config.write_text(CONFIGURATION.format(port=self.port))
        self.command = [str(program), "-c", str(config)]


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Amqtt]:
    folder = Path(os.environ.get("AMQTT") or tmp_path / "amqtt")
    if not folder.exists():
        subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
        pip = [str(folder / "bin" / "pip"), "install", "--quiet", f"amqtt=={VERSION}"]
        subprocess.run(pip, check=True, timeout=300)
    one = Amqtt(folder / "bin" / "amqtt", tmp_path)
    one.start()
    yield one
    one.kill()


def test_states_events_and_a_gap_at_another_broker(
    broker: Amqtt, portals: Callable[..., PortalProcess], tmp_path: Path
) -> None:
    portal = portals(tmp_path / "data", environment={"MQTT_URL": f"mqtt://127.0.0.1:{broker.port}"}).start()
    ears = Subscriber(broker.port)
    try:
        wait_for(lambda: ears.last("facemask/v1/available") == b"online", 10, "the portal")
        wait_for(lambda: ears.last("facemask/v1/1/1/state") == b"online", 20, "a camera")
        wait_for(lambda: ears.bodies("/violation"), 30, "somebody without a mask")
        broker.kill()
        wait_for(lambda: int(python_in(portal, WAITING).split()[-1]) >= 2, 60, "events in the gap")
        ears.subscribed.clear()
        with portal.standing_still("jobs@"):  # this broker forgets its subscribers: ours must be there first
            broker.start()
            assert ears.subscribed.wait(10)
        wait_for(lambda: ears.last("facemask/v1/available") == b"online", 10, "the portal again")
        python_in(portal, STOP)
        wait_for(lambda: int(python_in(portal, WAITING).split()[-1]) == 0, 30, "all to be sent")
        keys = set(python_in(portal, KEYS).split())
        wait_for(lambda: keys <= {body["delivery"] for body in ears.bodies("/violation")}, 10, "all to arrive")
    finally:
        ears.stop()
