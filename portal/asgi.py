"""The web process: pages by Django, sockets by Channels."""

from __future__ import annotations

import os
import warnings

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "portal.settings")

from django.core.asgi import get_asgi_application

pages = get_asgi_application()

# WhiteNoise's files are small: Django may read them whole, in a thread.
warnings.filterwarnings("ignore", "StreamingHttpResponse must consume synchronous iterators")

from channels.auth import AuthMiddlewareStack
from channels.routing import ProtocolTypeRouter, URLRouter
from channels.security.websocket import AllowedHostsOriginValidator
from django.urls import path

from portal.database import hold_open
from portal.live.consumer import LiveConsumer

hold_open()
sockets = URLRouter([path("ws/live/", LiveConsumer.as_asgi())])

application = ProtocolTypeRouter(
    {"http": pages, "websocket": AllowedHostsOriginValidator(AuthMiddlewareStack(sockets))}
)
