"""Stream workers at a site, behind its firewall: what they and the portal say to each other.

Such a worker is a small portal of its own, without pages: its own database, Valkey, spool and stream worker. It calls
the portal by HTTPS, with a key that is valid for its one site, and nobody calls it. While the line is down, it watches,
records and speaks; what it recorded waits on its disk.

    the portal                                             the worker
    settings.py   what the worker needs to know       ->   mirror.py    its own rows of it
    rounds.py     its lease, its cameras' states     <-    courier.py   every two seconds
    portal/events/recorder.py                        <-    portal/events/outgoing.py, what was recorded there
"""
