"""Makes of cameras: where each has its main stream and substream. One .toml per make, from its public documentation.

name   as people know it
main   address of the sharp stream; {host} is the camera's host name or IP address, possibly with a port
sub    address of the light stream
note   what must be done at the camera first; empty if there is nothing
"""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from functools import cache
from pathlib import Path

FOLDER = Path(__file__).resolve().parent


@dataclass(frozen=True)
class Make:
    """One make. `key` is its file's name."""

    key: str
    name: str
    main: str
    sub: str
    note: str

    @property
    def kind(self) -> str:
        return "http" if self.main.startswith("http") else "rtsp"

    def address(self, host: str, stream: str) -> str:
        """The address of the "main" or "sub" stream of the camera at `host`; a port in `host` takes precedence."""
        pattern = self.sub if stream == "sub" else self.main
        scheme, _separator, rest = pattern.partition("://")
        place, slash, path = rest.partition("/")
        has_port = ":" in host.rpartition("]")[2]
        return f"{scheme}://{host if has_port else place.format(host=host)}{slash}{path}"


@cache
def makes() -> dict[str, Make]:
    """All makes by key, ordered by name."""
    found = [Make(path.stem, **tomllib.loads(path.read_text("utf-8"))) for path in FOLDER.glob("*.toml")]
    return {make.key: make for make in sorted(found, key=lambda make: make.name.casefold())}
