"""A real MQTT broker (Debian's mosquitto) that can be killed and started again, and a subscriber that notes all."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import threading
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import paho.mqtt.client as paho
import pytest
from paho.mqtt.enums import CallbackAPIVersion

from tests.portal_process import free_port, wait_for

PATH = f"{os.environ.get('PATH', '')}:/usr/sbin"


class BrokerProcess:
    """A broker on loopback; a subclass writes its configuration and names its command."""

    port: int
    command: list[str]
    starts_within_s: float
    process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        self.process = subprocess.Popen(self.command, stderr=subprocess.DEVNULL)
        wait_for(self.answers, self.starts_within_s, "the broker")

    def answers(self) -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0

    def kill(self) -> None:
        if self.process is not None:
            self.process.send_signal(signal.SIGKILL)
            self.process.wait()
            self.process = None


class Mosquitto(BrokerProcess):
    """What it keeps survives a kill."""

    starts_within_s = 5

    def __init__(self, folder: Path, *lines: str) -> None:
        self.port = free_port()
        config, program = folder / "mosquitto.conf", shutil.which("mosquitto", path=PATH)
        if program is None:
            if os.environ.get("CI"):
                pytest.fail("mosquitto is absent; in CI it must be installed.")
            pytest.skip("needs mosquitto (Debian's package of that name)")
        user = "user root\n" if os.geteuid() == 0 else ""
        config.write_text(
            f"{user}listener {self.port} 127.0.0.1\npersistence true\npersistence_location {folder}/\n"
            "autosave_interval 1\nmax_queued_messages 0\n" + "\n".join(lines or ("allow_anonymous true",)) + "\n"
        )
        self.command = [program, "-c", str(config)]

    @property
    def url(self) -> str:
        return f"mqtt://127.0.0.1:{self.port}"


@dataclass
class Subscriber:
    """Notes every message, in order, over reconnections."""

    port: int
    login: tuple[str, str] = ("", "")
    heard: list[tuple[str, bytes, bool]] = field(default_factory=list)
    subscribed: threading.Event = field(default_factory=threading.Event)

    def __post_init__(self) -> None:
        self.client = paho.Client(CallbackAPIVersion.VERSION2, client_id="tests", clean_session=False)
        if self.login[0]:
            self.client.username_pw_set(*self.login)
        self.client.reconnect_delay_set(1, 1)

        def on_connect(client: paho.Client, *given: Any) -> None:
            client.subscribe("#", 1)

        self.client.on_connect = on_connect
        self.client.on_subscribe = lambda *_given: self.subscribed.set()
        self.client.on_message = lambda _client, _data, message: self.heard.append(
            (message.topic, bytes(message.payload), message.retain)
        )
        self.client.connect("127.0.0.1", self.port)
        self.client.loop_start()
        assert self.subscribed.wait(5)

    def stop(self) -> None:
        self.client.disconnect()
        self.client.loop_stop()
        # They hold us, and we the client: nobody would close its sockets.
        self.client.on_connect = self.client.on_subscribe = self.client.on_message = None
        del self.client

    def say(self, topic: str, payload: str | bytes, retain: bool = False) -> None:
        self.client.publish(topic, payload, 1, retain).wait_for_publish(5)

    def last(self, topic: str) -> bytes | None:
        """The last payload there; None if there was none, or it was cleared."""
        return next((payload or None for name, payload, _ in reversed(self.heard) if name == topic), None)

    def bodies(self, end: str) -> list[dict[str, Any]]:
        return [json.loads(payload) for name, payload, _ in self.heard if name.endswith(end) and payload]
