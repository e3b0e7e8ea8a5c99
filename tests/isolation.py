"""Loaded before Django's settings: tests have their own DATA_DIR and Valkey, and nothing of the operator's."""

from __future__ import annotations

import atexit
import os
import shutil
import tempfile
from pathlib import Path

from portal.server import variables

VALKEY_PASSWORD = "0123456789abcdef"

for name in variables.DEFAULTS:
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
os.environ["LOCAL_CAMERAS"] = "*:*"
os.environ["DJANGO_ALLOW_ASYNC_UNSAFE"] = "1"  # Playwright's loop runs in the tests' thread
