"""The web process: pages by Django, sockets by Channels."""

from __future__ import annotations

import asyncio
import os
import warnings
from typing import Any

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "portal.settings")

from django.core.asgi import get_asgi_application

pages = get_asgi_application()

# WhiteNoise's files are small: Django may read them whole, in a thread.
warnings.filterwarnings("ignore", "StreamingHttpResponse must consume synchronous iterators")

from asgiref.sync import sync_to_async
from channels.auth import AuthMiddlewareStack
from channels.routing import ProtocolTypeRouter, URLRouter
from django.urls import path

from portal.devices.sockets import DeviceConsumer, SpeakerConsumer
from portal.live.consumer import LiveConsumer
from portal.server.alive import BEAT_EVERY_S, beat, notify
from portal.server.body_limit import BodyLimit
from portal.server.connections import FairShare
from portal.server.database import hold_open, wait_less
from portal.server.origin import SameOrigin
from portal.server.slow_lane import SlowLane

wait_less()

sockets = URLRouter(
    [
        path("ws/live/", LiveConsumer.as_asgi()),
        path("ws/device/", DeviceConsumer.as_asgi()),
        path("ws/speaker/", SpeakerConsumer.as_asgi()),
    ]
)


async def lifespan(scope: Any, receive: Any, send: Any) -> None:
    """Start-up and shutdown of the process (ASGI lifespan protocol, version 2.0)."""
    beating = asyncio.create_task(beat_by_loop())
    while (await receive())["type"] == "lifespan.startup":
        await sync_to_async(hold_open)()
        notify("READY=1")
        await send({"type": "lifespan.startup.complete"})
    beating.cancel()
    await send({"type": "lifespan.shutdown.complete"})


async def beat_by_loop() -> None:
    """If the loop stands, so does this."""
    while True:
        beat()
        await asyncio.sleep(BEAT_EVERY_S)


application = FairShare(
    ProtocolTypeRouter(
        {
            "http": BodyLimit(SlowLane(pages)),
            "websocket": SameOrigin(AuthMiddlewareStack(sockets)),
            "lifespan": lifespan,
        }
    )
)
