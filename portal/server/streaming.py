"""What a stream worker's process starts and ends: the watching (cameras) and the recording (portal) of one spool."""

from __future__ import annotations

from django.conf import settings

from cameras import tasks
from cameras.watching import worker
from portal.events.recorder import Recorder
from portal.server import database
from portal.voice import outputs

_recorder: Recorder | None = None


def start() -> None:
    """Begin to watch and to record. Raises ModelError where the model cannot be used, OSError where no spool can be."""
    global _recorder
    database.hold_open()
    stream_worker = worker.StreamWorker(
        settings.WORKER_NAME, settings.WORKER_CAPACITY, tuple(settings.WORKER_SITES), tasks.ring
    )
    worker.set_current(stream_worker)
    _recorder = Recorder(stream_worker.spool, worker.spool_root(), worker.refused_root())
    _recorder.start()
    stream_worker.start()


def finish() -> None:
    """After the last watch has ended: write what waits, record it, give everything back."""
    stream_worker = worker.current()
    if stream_worker is None or _recorder is None:
        return
    stream_worker.close()
    _recorder.close()
    outputs.close()
    worker.set_current(None)
