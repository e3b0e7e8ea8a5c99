"""The job worker's sender: a few threads that send what is due, each lane by one of them at a time.

It is woken when a delivery is committed (portal/alerts/waking.py), and looks every second by itself. A server that
hangs holds up its own lane alone. If the process is killed, what it had claimed is sent by whoever looks next.
"""

from __future__ import annotations

import logging
import threading
from concurrent.futures import ThreadPoolExecutor

from django.conf import settings
from django.db import DatabaseError, close_old_connections, connections

from cameras.redis import Errors, subscription
from portal.alerts import outbox, waking
from portal.alerts.mqtt.publisher import Publisher

log = logging.getLogger(__name__)

THREADS = 8  # for mail, and as many for everything else
MAIL = "email:"
LOOK_S = 1.0
_running: Sender | None = None


class Sender:
    """Sends until `stop`."""

    def __init__(self) -> None:
        self._stopping = threading.Event()
        self._busy: set[str] = set()
        # A silent mail server holds up mail alone: each person has a lane there.
        self._pools = {is_mail: ThreadPoolExecutor(THREADS, thread_name_prefix="deliver") for is_mail in (False, True)}
        self._threads = [threading.Thread(target=self._run, name="sender", daemon=True)]
        if settings.MQTT_URL:
            publisher = Publisher(settings.MQTT_URL, self._stopping)
            self._threads.append(threading.Thread(target=publisher.run, name="mqtt", daemon=True))

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """Ends within a second or so; what is being sent meanwhile is sent to its end."""
        self._stopping.set()
        for thread in self._threads:
            thread.join(1)
        for pool in self._pools.values():
            pool.shutdown(wait=False, cancel_futures=True)

    def _run(self) -> None:
        while not self._stopping.is_set():
            try:
                with subscription(waking.CHANNEL) as woken:
                    while not self._stopping.is_set():
                        self.look()
                        woken.get_message(timeout=LOOK_S)
            except Errors as error:
                log.warning("the sender is not woken, it looks by itself: %s", type(error).__name__)
                self.look()
                self._stopping.wait(LOOK_S)
            except Exception:  # whatever it was: without this thread nothing is sent at all
                log.exception("the sender failed, and begins anew")
                close_old_connections()
                self._stopping.wait(LOOK_S)
        connections.close_all()

    def look(self) -> None:
        """Give each lane in which something is due to a thread of its own."""
        try:
            for lane in outbox.due_lanes(without=tuple(self._busy)):
                self._busy.add(lane)
                try:
                    self._pools[lane.startswith(MAIL)].submit(self._send, lane)
                except RuntimeError:
                    self._busy.discard(lane)
                    raise
        except DatabaseError as error:
            log.warning("deliveries wait for the database: %s", type(error).__name__)
            close_old_connections()  # otherwise it is kept: this thread asks each second

    def _send(self, lane: str) -> None:
        try:
            outbox.send_lane(lane)
        except DatabaseError as error:
            log.warning("deliveries of %s wait for the database: %s", lane, type(error).__name__)
        except Exception:
            log.exception("sending in %s failed, and begins anew", lane)
        finally:
            self._busy.discard(lane)
            close_old_connections()


def start() -> None:
    """Begin sending in this process; called once, by the job worker."""
    global _running
    _running = Sender()
    _running.start()


def finish() -> None:
    if _running is not None:
        _running.stop()
