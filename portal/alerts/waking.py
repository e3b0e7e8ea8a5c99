"""Wakes the sender when there is something to send; without it, it looks every second by itself."""

from __future__ import annotations

import logging

from redis.exceptions import RedisError

from cameras.redis import connection

log = logging.getLogger(__name__)

CHANNEL = "deliveries"
TROUBLE_KEY, TROUBLE_S = "mqtt-trouble", 60  # what the MQTT broker refuses, for the notices


def wake() -> None:
    """Call on commit. Never raises."""
    try:
        connection().publish(CHANNEL, b"")
    except (RedisError, OSError) as error:
        log.debug("the sender is not woken and looks by itself: %s", type(error).__name__)
