"""How Home Assistant finds the cameras by itself: one device a camera (MQTT discovery, device-based payload).

https://www.home-assistant.io/integrations/mqtt/#mqtt-discovery
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

from django.conf import settings
from django.urls import reverse

from cameras.models import Camera
from portal.alerts.mqtt.topics import VERSION, Publication, as_json
from portal.models import policy_of

PREFIX = "homeassistant"
BIRTH = f"{PREFIX}/status"
ALL = f"{PREFIX}/device/+/config"


def node_id(portal: str, camera_id: int) -> str:
    return f"facemask_{portal}_{camera_id}"


def topic_of(portal: str, camera_id: int) -> str:
    return f"{PREFIX}/device/{node_id(portal, camera_id)}/config"


def camera_of(topic: str, portal: str) -> int | None:
    """The camera of this portal that a topic announces; None if it is somebody else's."""
    found = re.fullmatch(rf"{PREFIX}/device/facemask_{re.escape(portal)}_(\d{{1,18}})/config", topic)
    return int(found[1]) if found else None


def announce(cameras: Iterable[Camera], prefix: str, portal: str) -> list[Publication]:
    return [
        Publication(topic_of(portal, each.pk), as_json(payload(each, prefix, portal)), retain=True) for each in cameras
    ]


def payload(camera: Camera, prefix: str, portal: str) -> dict[str, Any]:
    """What Home Assistant learns of one camera, read with its site's policy."""
    node, base = node_id(portal, camera.pk), f"{prefix}/{VERSION}/{camera.site_id}/{camera.pk}"
    policy = policy_of(camera.site)
    parts: dict[str, dict[str, Any]] = {
        "online": {
            "p": "binary_sensor", "name": "Online", "device_class": "connectivity", "entity_category": "diagnostic",
            "state_topic": f"{base}/state", "value_template": "{{ 'ON' if value == 'online' else 'OFF' }}",
        },
        "state": {
            "p": "sensor", "name": "State", "device_class": "enum", "options": ["online", "offline", "paused"],
            "state_topic": f"{base}/state",
        },
        "violation": {
            "p": "event", "name": "No mask", "event_types": ["opened", "updated", "closed", "reviewed"],
            "state_topic": f"{base}/violation",
        },
        "no_mask": counted(base, "Without a mask, last minute", "no_mask"),
        "mask": counted(base, "With a mask, last minute", "mask"),
    }  # fmt: skip
    if policy.mqtt_commands:
        parts |= {
            "watching": {
                "p": "switch", "name": "Watching", "state_topic": f"{base}/state", "command_topic": f"{base}/set",
                "value_template": "{{ 'paused' if value == 'paused' else 'watching' }}",
                "state_on": "watching", "state_off": "paused", "payload_on": "resume", "payload_off": "pause",
            },
            "reminder": {
                "p": "switch", "name": "Spoken reminder", "state_topic": f"{base}/reminder",
                "command_topic": f"{base}/set", "state_on": "on", "state_off": "off",
                "payload_on": "reminder on", "payload_off": "reminder off",
            },
            "snooze": {
                "p": "button", "name": "Quiet for an hour", "command_topic": f"{base}/set", "payload_press": "snooze",
            },
        }  # fmt: skip
    if policy.mqtt_pictures:
        parts["picture"] = {
            "p": "image", "name": "Last without a mask", "image_topic": f"{base}/snapshot",
            "content_type": "image/jpeg",
        }  # fmt: skip
    return {
        "device": {
            "identifiers": [node],
            "name": f"{camera.name}, {camera.site.name}",
            "manufacturer": "Mask portal",
            "model": "Camera",
            "suggested_area": camera.site.name,
            "configuration_url": f"{settings.BASE_URL}{reverse('dashboard')}",
        },
        "origin": {"name": "mask-portal"},
        "availability_topic": f"{prefix}/{VERSION}/available",
        "qos": 1,
        "components": {name: part | {"unique_id": f"{node}_{name}"} for name, part in parts.items()},
    }


def counted(base: str, name: str, label: str) -> dict[str, Any]:
    template = f"{{{{ value_json.{label} }}}}"
    return {"p": "sensor", "name": name, "state_topic": f"{base}/people", "value_template": template,
            "state_class": "measurement", "unit_of_measurement": "people"}  # fmt: skip
