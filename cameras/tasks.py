"""What stream workers are asked to do. Tasks take ids; the message is a doorbell, the row is what counts."""

from __future__ import annotations

from uuid import UUID

from celery import current_app, shared_task
from django.db import close_old_connections
from kombu.exceptions import OperationalError

from cameras.setup import probe
from cameras.watching import leases, site_calls, worker

EXPIRES_S = 10
PROBE = "cameras.tasks.probe_camera"


@shared_task(name="cameras.tasks.watch_camera", acks_late=False, ignore_result=True)
def watch_camera(camera_id: int, token: int) -> None:
    """Watch a camera for as long as this worker holds its lease, usually for hours."""
    stream_worker = worker.current()
    if stream_worker is None:
        return
    try:
        stream_worker.watch(camera_id, token)
    finally:
        close_old_connections()


@shared_task(name=PROBE, acks_late=False, ignore_result=True)
def probe_camera(probe_id: str) -> None:
    """Test what somebody typed; takes a quarter of a minute at most."""
    stream_worker = worker.current()
    if stream_worker is None:
        return
    try:
        probe.carry_out(UUID(probe_id), stream_worker.detector_for)
    finally:
        close_old_connections()


def ring(name: str, camera_id: int, token: int) -> None:
    """Ring a worker's doorbell; raises ConnectionError if the broker is away."""
    send("cameras.tasks.watch_camera", (camera_id, token), f"streams.{name}")


def send_probe(probe_id: UUID, site_id: int, at_site: bool) -> bool:
    """Let the least busy worker that serves the site carry out a test; False if there is no living one.

    Args:
        at_site: by one of the site's own.
    """
    return ask_worker(PROBE, probe_id, serving_worker(site_id, at_site))


def serving_worker(site_id: int, at_site: bool, camera_id: int = 0) -> leases.WorkerState | None:
    """A living worker that serves the site: the one that watches the camera, else the least busy."""
    serving = [state for state in leases.living_workers() if state.serves(site_id, at_site)]

    def fitness(state: leases.WorkerState) -> tuple[bool, int, str]:
        return camera_id in state.watching, state.capacity - len(state.watching), state.name

    return max(serving, key=fitness, default=None)


def ask_worker(task: str, row: UUID, worker: leases.WorkerState | None) -> bool:
    """Ask a worker to carry out a task about one row; False if there is none. One at a site hears of it when it calls.

    Raises ConnectionError, or one of cameras.redis.Errors.
    """
    if worker is None:
        return False
    if worker.is_at_site:
        site_calls.leave(worker.name, task, row)
    else:
        send(task, (str(row),), f"probes.{worker.name}")
    return True


def send(task: str, arguments: tuple[object, ...], queue: str) -> None:
    try:
        current_app.send_task(task, arguments, queue=queue, expires=EXPIRES_S, retry=False)
    except OperationalError as error:
        raise ConnectionError("the broker does not answer") from error
