"""What stream workers are asked to do. Tasks take ids; the message is a doorbell, the row is what counts."""

from __future__ import annotations

from celery import current_app, shared_task
from django.db import close_old_connections
from kombu.exceptions import OperationalError

from cameras import worker

EXPIRES_S = 10


@shared_task(name="cameras.tasks.watch_camera", acks_late=False, ignore_result=True)
def watch_camera(camera_id: int, token: int) -> None:
    """Watch a camera for as long as this worker holds its lease; for hours, mostly."""
    stream_worker = worker.current()
    if stream_worker is None:
        return
    try:
        stream_worker.watch(camera_id, token)
    finally:
        close_old_connections()


def ring(name: str, camera_id: int, token: int) -> None:
    """Ring at a worker's door; raises ConnectionError where the broker is away."""
    try:
        current_app.send_task(
            "cameras.tasks.watch_camera", (camera_id, token), queue=f"streams.{name}", expires=EXPIRES_S, retry=False
        )
    except OperationalError as error:
        raise ConnectionError("the broker does not answer") from error
