"""What a stream worker's process starts and ends: watching (cameras) and recording (portal), with one spool."""

from __future__ import annotations

from django.conf import settings

from cameras import tasks
from cameras.watching import crashes, worker
from portal import __version__
from portal.events.recorder import Recorder
from portal.server import alive, database
from portal.voice import outputs

_recorder: Recorder | None = None


def start() -> None:
    """Start watching and recording. Raises ModelError if the model cannot be used, OSError if no spool can be made."""
    global _recorder
    database.hold_open()
    stream_worker = worker.StreamWorker(
        settings.WORKER_NAME, settings.WORKER_CAPACITY, tuple(settings.WORKER_SITES), tasks.ring, __version__
    )
    crashes.listen(stream_worker.spool.folder)
    worker.set_current(stream_worker)
    _recorder = Recorder(stream_worker.spool, worker.spool_root(), worker.refused_root())
    _recorder.start()
    stream_worker.start()
    alive.beat_while(lambda: list(stream_worker.rounds.values()))  # its loops add theirs meanwhile


def finish() -> None:
    """After the last watch ends: write what is pending, record it, release everything."""
    stream_worker = worker.current()
    if stream_worker is None or _recorder is None:
        return
    stream_worker.close()
    _recorder.close()
    outputs.close()
    worker.set_current(None)
