"""A slow, lossy link between two network namespaces, in user space: no module of the kernel is needed but tun.

slow_link.py FROM TO DELAY_MS LOSS: gives namespace FROM the address 10.78.0.1 and TO 10.78.0.2, each on a tun device,
says "linked", and carries packets between them until it is killed: each DELAY_MS milliseconds later, and the share
LOSS of them, chosen with a fixed seed, never.
"""

from __future__ import annotations

import fcntl
import os
import random
import select
import struct
import subprocess
import sys
import time
from collections import deque
from pathlib import Path

ADDRESSES = ("10.78.0.1", "10.78.0.2")
_DEVICE = Path("/dev/net/tun")
_TUNSETIFF = 0x400454CA
_IFF_TUN, _IFF_NO_PI = 0x0001, 0x1000


def missing() -> str | None:
    """Why there can be no link here; None when there can."""
    if not _DEVICE.exists():
        try:
            _DEVICE.parent.mkdir(exist_ok=True)
            os.mknod(_DEVICE, 0o20600, os.makedev(10, 200))
        except OSError as error:
            return f"needs {_DEVICE}, which cannot be made: {error.strerror}"
    try:
        os.close(os.open(_DEVICE, os.O_RDWR))
    except OSError as error:
        return f"needs {_DEVICE}: {error.strerror}"
    return None


def _open(namespace: str, name: str, address: str, peer: str) -> int:
    """One end; what is read from it was sent there."""
    descriptor = os.open(_DEVICE, os.O_RDWR | os.O_NONBLOCK)
    fcntl.ioctl(descriptor, _TUNSETIFF, struct.pack("16sH22x", name.encode(), _IFF_TUN | _IFF_NO_PI))
    for command in (
        ["link", "set", name, "netns", namespace],
        ["-n", namespace, "address", "add", address, "peer", peer, "dev", name],
        ["-n", namespace, "link", "set", name, "up"],
    ):
        subprocess.run(["ip", *command], check=True)
    return descriptor


def carry(ends: tuple[int, int], delay_s: float, loss: float) -> None:
    """Carries packets, for ever."""
    chance = random.Random(0)
    under_way: deque[tuple[float, int, bytes]] = deque()  # when it arrives, where, what
    poll = select.poll()
    for end in ends:
        poll.register(end, select.POLLIN)
    while True:
        wait = None if not under_way else max(0.0, under_way[0][0] - time.monotonic()) * 1000
        for end, _ in poll.poll(wait):
            packet = os.read(end, 65536)
            if chance.random() >= loss:
                under_way.append((time.monotonic() + delay_s, ends[1 - ends.index(end)], packet))
        while under_way and under_way[0][0] <= time.monotonic():
            _, to, packet = under_way.popleft()
            try:
                os.write(to, packet)
            except BlockingIOError:
                continue  # its queue is full: lost, as on any link


def main() -> None:
    """Links two namespaces."""
    first, second, delay_ms, loss = sys.argv[1:]
    name = f"slow{os.getpid()}"
    ends = (_open(first, f"{name}a", *ADDRESSES), _open(second, f"{name}b", *reversed(ADDRESSES)))
    print("linked", flush=True)
    carry(ends, float(delay_ms) / 1000, float(loss))


if __name__ == "__main__":
    main()
