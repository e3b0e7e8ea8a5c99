"""Loaded before Django's settings: tests have a DATA_DIR and a Valkey of their own, and nothing of the operator's."""

from __future__ import annotations

import atexit
import os
import shutil
import tempfile
from pathlib import Path

SETTINGS = (
    *("PORT", "BIND", "DATABASE_URL", "PUBLIC_URL", "ALLOWED_HOSTS", "SECRET_KEY", "EMAIL_URL", "DEFAULT_FROM_EMAIL"),
    *("TRUSTED_PROXIES", "WORKER_NAME", "WORKER_CAPACITY", "WORKER_SITES", "LOG_FILE", "FREE_DISK_FLOOR_MB"),
    *("CAMERA_NETWORKS", "HTTPS", "REQUIRE_TWO_FACTOR", "LOG_LEVEL"),
)
VALKEY_PASSWORD = "0123456789abcdef"

for name in SETTINGS:
    if not (name == "DATABASE_URL" and os.environ.get("TEST_DATABASE_URL")):
        os.environ.pop(name, None)
if database := os.environ.get("TEST_DATABASE_URL"):
    os.environ["DATABASE_URL"] = database
FOLDER = Path(tempfile.mkdtemp(prefix="masks-test-"))
atexit.register(shutil.rmtree, FOLDER, ignore_errors=True)
(FOLDER / "data" / "static").mkdir(mode=0o700, parents=True)
VALKEY_SOCKET = FOLDER / "v.sock"
os.environ["DATA_DIR"] = str(FOLDER / "data")
os.environ["REDIS_URL"] = f"unix://:{VALKEY_PASSWORD}@{VALKEY_SOCKET}?db=0"
os.environ["DEMO"] = "0"
os.environ["DJANGO_ALLOW_ASYNC_UNSAFE"] = "1"  # Playwright's loop runs in the thread of the tests
