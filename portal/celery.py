"""The Celery application: which tasks run in which queue, and when."""

from __future__ import annotations

import logging
import os
import sys
from typing import Any

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "portal.settings")

from celery import Celery
from celery.signals import beat_init, setup_logging, worker_ready, worker_shutdown, worker_shutting_down
from django.conf import settings

from portal.server import alive

log = logging.getLogger(__name__)

app = Celery("portal")
app.conf.update(
    broker_url=settings.CELERY_BROKER_URL,
    broker_connection_retry_on_startup=True,
    broker_transport_options={"socket_keepalive": True},
    task_ignore_result=True,
    task_default_queue="default",
    worker_prefetch_multiplier=1,
    worker_hijack_root_logger=False,
    worker_cancel_long_running_tasks_on_connection_loss=False,
    redbeat_redis_url=settings.REDIS_URL,
    redbeat_redis_options={},
    redbeat_lock_timeout=30,
    beat_max_loop_interval=5,
    beat_schedule={
        "pulse": {"task": "portal.tasks.pulse", "schedule": 5.0, "options": {"expires": 5}},
        "states": {"task": "portal.tasks.states", "schedule": 1.0, "options": {"expires": 2}},
        "spools": {"task": "portal.tasks.spools", "schedule": 2.0, "options": {"expires": 2}},
        "alerts": {"task": "portal.tasks.alerts", "schedule": 3.0, "options": {"expires": 3}},
        "reviews": {"task": "portal.tasks.reviews", "schedule": 3.0, "options": {"expires": 3}},
        "figures": {"task": "portal.tasks.figures", "schedule": 60.0, "options": {"expires": 60}},
        "retention": {"task": "portal.tasks.retention", "schedule": 60.0, "options": {"expires": 60}},
        "back_up": {"task": "portal.tasks.back_up", "schedule": 600.0, "options": {"expires": 600}},
        "orphans": {"task": "portal.tasks.orphans", "schedule": 6 * 3600.0, "options": {"expires": 3600}},
    },
)


@beat_init.connect
def begin_beat(**kwargs: Any) -> None:
    alive.beat_while(tuple)
    alive.notify("READY=1")


app.autodiscover_tasks(["portal", "cameras"])


@setup_logging.connect
def keep_djangos_logging(**kwargs: Any) -> None:
    """While this is connected, Celery leaves logging as portal/settings.py set it up."""


@worker_ready.connect
def begin(sender: Any, **kwargs: Any) -> None:
    """A job worker is healthy from its start, not from beat's first round; a stream worker starts looking for work."""
    kind = str(sender.hostname).partition("@")[0]
    if kind == "jobs":
        from portal.alerts import sender as alerts_sender
        from portal.server.health import note_jobs_alive

        note_jobs_alive()
        alerts_sender.start()
        alive.beat_while(tuple)
    elif kind == "streams":
        from portal.server import streaming

        try:
            streaming.start()
        except Exception as error:  # Celery would swallow it and carry on without watching anything
            log.exception("the stream worker cannot start; its supervisor restarts it")
            sys.exit(f"The stream worker cannot start. {error}")
    alive.notify("READY=1")


@worker_shutting_down.connect
def stop_watching(**kwargs: Any) -> None:
    """Threads cannot be revoked, so each watch is asked to end and to give its thread back."""
    from cameras.watching import worker

    if stream_worker := worker.current():
        stream_worker.stop()


@worker_shutdown.connect
def finish(**kwargs: Any) -> None:
    from portal.alerts import sender as alerts_sender
    from portal.server import streaming

    alerts_sender.finish()
    streaming.finish()
