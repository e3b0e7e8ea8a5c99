"""Which of the portal's processes keep ending: written by the supervisor, read by /healthz and the dashboard.

    DATA_DIR/processes.json      {"beat": 6}      beat has ended six times in a row soon after its start

Standard library only: the supervisor imports it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

NAME = "processes.json"


def write(data_dir: Path, ends: Mapping[str, int]) -> None:
    """Note how often each of these processes has ended; a full disk must not stop the supervisor."""
    path = data_dir / NAME
    try:
        partial = path.with_suffix(".new")
        partial.write_text(json.dumps(dict(ends)))
        partial.replace(path)
    except OSError:
        return


def read(data_dir: Path) -> dict[str, int]:
    """What was noted; empty where no supervisor runs, or all is well."""
    try:
        return {str(name): int(ends) for name, ends in json.loads((data_dir / NAME).read_text()).items()}
    except (OSError, ValueError, AttributeError):
        return {}
