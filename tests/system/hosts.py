"""Several hosts on one machine: each a network namespace with an address of its own, at one switch.

with network("centre", "south") as hosts:
    subprocess.run([*hosts["south"].on, "ip", "addr"])
    hosts["south"].cut()
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

OWN = 'mount -t tmpfs -o mode=0700 tmpfs "$0" && exec "$@"'  # with a folder that no other host sees


@dataclass(frozen=True)
class Host:
    """One of them; `on` before a command runs it there."""

    name: str
    namespace: str
    switch: str
    address: str

    @property
    def on(self) -> tuple[str, ...]:
        return ("ip", "netns", "exec", self.namespace)

    def with_own(self, folder: Path) -> tuple[str, ...]:
        """The same, with a file system of its own in this folder."""
        return (*self.on, "unshare", "--mount", "--propagation", "private", "sh", "-c", OWN, str(folder))

    def cut(self) -> None:
        """Pull its cable."""
        ip("-n", self.switch, "link", "set", f"to-{self.name}", "down")

    def heal(self) -> None:
        ip("-n", self.switch, "link", "set", f"to-{self.name}", "up")


def ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True, capture_output=True)


@contextmanager
def network(*names: str) -> Iterator[dict[str, Host]]:
    """Hosts of these names, of at most seven letters; skipped by name without the right to make them, but not in CI."""
    mark = f"masks{os.getpid()}"
    switch = f"{mark}-switch"
    hosts = {
        name: Host(name, f"{mark}-{name}", switch, f"10.77.0.{number}") for number, name in enumerate(names, start=1)
    }
    try:
        ip("netns", "add", switch)
    except (OSError, subprocess.CalledProcessError) as error:
        if os.environ.get("CI"):
            pytest.fail(f"Network namespaces cannot be made here; in CI that is a failure: {error}")
        pytest.skip("needs the right to make network namespaces")
    try:
        ip("-n", switch, "link", "add", "bridge", "type", "bridge")
        ip("-n", switch, "link", "set", "bridge", "up")
        for host in hosts.values():
            ip("netns", "add", host.namespace)
            port = f"to-{host.name}"
            ip("-n", switch, "link", "add", port, "type", "veth", "peer", "name", "eth0", "netns", host.namespace)
            ip("-n", switch, "link", "set", port, "master", "bridge", "up")
            ip("-n", host.namespace, "addr", "add", f"{host.address}/24", "dev", "eth0")
            for device in ("lo", "eth0"):
                ip("-n", host.namespace, "link", "set", device, "up")
        yield hosts
    finally:
        for namespace in (*(host.namespace for host in hosts.values()), switch):
            subprocess.run(["ip", "netns", "delete", namespace], capture_output=True)
