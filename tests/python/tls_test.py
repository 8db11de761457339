"""Runs whose control connections are encrypted: who is let in, what can be read on the way, and where secrets lie."""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import socket
import struct
import subprocess
import sys
import threading
import time

import pytest
from launched import DEADLINE_S

from troupe import _troupe, launch
from troupe.__main__ import main
from troupe.launcher.settings import Host

TOKEN = "0123456789abcdef" * 4

# Trains until the first step is done, on one worker.
DRIVER = """
import numpy as np
import troupe as tr
from troupe import functional as F
from troupe import nn

model = nn.Linear(4, 3)
loss = lambda m, b: F.cross_entropy(m(b["x"]), b["y"])
step = tr.TrainStep(model, loss, tr.optim.SGD(model.parameters(), lr=0.1), mesh=tr.mesh("cpu", dp=1))
step({"x": np.ones((8, 4), np.float32), "y": np.zeros(8, np.int64)})
print("stepped", flush=True)
"""


class Proxy:
    """Carries connections to an address, and records what passes."""

    def __init__(self, host: str, port: int) -> None:
        self.recorded = b""
        self._there = (host, port)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.address = "{}:{}".format(*self._listener.getsockname())
        threading.Thread(target=self._serve, daemon=True).start()

    def close(self) -> None:
        self._listener.close()

    def _serve(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                here, _ = self._listener.accept()
                there = socket.create_connection(self._there)
                for ends in ((here, there), (there, here)):
                    threading.Thread(target=self._copy, args=ends, daemon=True).start()

    def _copy(self, from_: socket.socket, to: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := from_.recv(1 << 16):
                self.recorded += data
                to.sendall(data)
            to.shutdown(socket.SHUT_WR)


@pytest.fixture
def files(tmp_path):
    """A certificate and its key."""
    paths = tmp_path / "run.crt", tmp_path / "run.key"
    for path, text in zip(paths, _troupe.new_tls_identity(), strict=True):
        path.write_text(text)
    return paths


def by_hand(*command: str, **environment: str) -> subprocess.Popen[str]:
    """A driver or a worker, with the token."""
    options = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    environment = {**os.environ, "TROUPE_TOKEN": TOKEN, **environment}
    return subprocess.Popen([sys.executable, *command], env=environment, **options)


def driven(script: str, folder, files) -> tuple[subprocess.Popen[str], str]:
    """A driver that waits for one worker, with this certificate and key if there are any, and its address."""
    names = ("TROUPE_TLS_CERT", "TROUPE_TLS_KEY")
    run = {"TROUPE_RUN_DIR": str(folder), "TROUPE_WORKERS": "1", **dict(zip(names, map(str, files)))}
    driver = by_hand("-c", script, **run)
    while not (folder / "driver.json").exists():
        assert driver.poll() is None, driver.stderr.read()
        time.sleep(0.01)
    return driver, json.loads((folder / "driver.json").read_text())["address"]


def joining(address: str, files) -> subprocess.Popen[str]:
    """A worker for it."""
    options = [word for pair in zip(("--tls-cert", "--tls-key"), map(str, files)) for word in pair]
    return by_hand("-m", "troupe", "worker", "--join", address, *options)


@pytest.mark.parametrize("encrypted", [False, True])
def test_the_token_can_be_read_on_the_way_only_without_tls(tmp_path, files, encrypted):
    files = files if encrypted else ()
    driver, address = driven(DRIVER, tmp_path, files)
    host, port = address.split(":")
    proxy = Proxy(host, int(port))
    worker = joining(proxy.address, files)
    out, error = driver.communicate(timeout=DEADLINE_S)
    assert (driver.returncode, out) == (0, "stepped\n"), error
    assert worker.wait(DEADLINE_S) == 0, worker.stderr.read()
    proxy.close()
    assert len(proxy.recorded) > 1000
    assert (TOKEN.encode() in proxy.recorded) == (not encrypted)


@contextlib.contextmanager
def overheard(port: int):
    """What passes between this port and others of this host, packet by packet, in a list that ends with the block."""
    try:
        ear = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(0x0800))  # IPv4
    except PermissionError as error:
        pytest.skip(f"packets cannot be looked at, which takes root: {error}")
    ear.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 24)
    ear.bind(("lo", 0x0800))
    ear.setblocking(False)
    heard: list[bytes] = []
    yield heard
    with contextlib.suppress(BlockingIOError):
        while True:
            packet = ear.recv(1 << 16)
            header = 4 * (packet[0] & 15)
            if packet[9] == socket.IPPROTO_TCP and port in struct.unpack_from("!HH", packet, header):
                heard.append(packet[header + 4 * (packet[header + 12] >> 4) :])
    ear.close()


@pytest.mark.parametrize("encrypted", [False, True])
def test_what_a_launch_sends_can_be_read_only_without_tls(script, encrypted):
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    launched = [sys.executable, "-m", "troupe", "launch", "-n", "1", "--listen", f"127.0.0.1:{port}"]
    path = script("import os\nprint(os.environ['TROUPE_TOKEN'])\n" + DRIVER)
    with overheard(port) as heard:
        ended = subprocess.run(
            [*launched, *(["--tls"] if encrypted else []), path], capture_output=True, text=True, timeout=DEADLINE_S
        )
    token, stepped = ended.stdout.split()
    assert (ended.returncode, stepped) == (0, "stepped"), ended.stderr
    assert len(token) == 64 and sum(map(len, heard)) > 1000
    assert any(token.encode() in packet for packet in heard) == (not encrypted)


def test_a_worker_with_its_token_on_stdin_may_have_its_certificate_in_files(tmp_path, files):
    driver, address = driven(DRIVER, tmp_path, files)
    options = ["--token-stdin", "--tls-cert", str(files[0]), "--tls-key", str(files[1])]
    worker = by_hand("-m", "troupe", "worker", "--join", address, *options, TROUPE_TOKEN="another")
    worker.stdin.write(f"{TOKEN}\n")
    worker.stdin.flush()
    out, error = driver.communicate(timeout=DEADLINE_S)
    assert (driver.returncode, out) == (0, "stepped\n"), error
    assert worker.wait(DEADLINE_S) == 0, worker.stderr.read()


@pytest.mark.parametrize("end", ["", "\n"])
def test_files_without_a_last_end_of_line_make_one_text(files, end):
    for path in files:
        path.write_text(path.read_text().rstrip("\n") + end)
    parser = argparse.ArgumentParser()
    launch.add_arguments(parser)
    identity = launch.tls_of(parser.parse_args(["-n", "1", "--tls-cert", str(files[0]), "--tls-key", str(files[1])]))
    _troupe.check_tls_identity((identity, identity))
    assert "\n\n" not in identity


def test_a_worker_ends_when_its_driver_is_killed(tmp_path, files):
    driver, address = driven(DRIVER + "print(input())", tmp_path, files)
    worker = joining(address, files)
    assert driver.stdout.readline() == "stepped\n"
    driver.kill()
    driver.communicate(timeout=DEADLINE_S)
    _, error = worker.communicate(timeout=DEADLINE_S)
    assert (worker.returncode, error) == (1, f"troupe: the driver at {address} is gone: its connection was closed\n")


# What a run and its workers find of the run's certificate and key: where, and who else could.
LOOK = """
workers = wait_for_workers()
identity = open(os.environ["TROUPE_TLS_CERT"]).read()
print(identity == open(os.environ["TROUPE_TLS_KEY"]).read(), [w.identity == [identity] * 2 for w in workers])
secret = max(identity.splitlines(), key=len)
shown, kept = [], []
for name in filter(str.isdigit, os.listdir("/proc")):
    for what in ("cmdline", "environ"):
        try:
            if secret in open(f"/proc/{name}/{what}", errors="replace").read():
                shown.append((name, what))
        except OSError:
            pass  # it has ended
for folder, _, names in os.walk(os.path.dirname(__file__)):
    for name in names:
        if secret in open(os.path.join(folder, name), errors="replace").read():
            kept.append(name)
print(shown, kept)
"""


@pytest.mark.parametrize("hosts", [(), (Host("node1", "cpu=1"), Host("node2", "cpu=1"))])
def test_certificate_and_key_are_in_memory_alone(start, hosts):
    identity = "".join(_troupe.new_tls_identity())
    status, out, error = start(LOOK, hosts=hosts, identity=identity).wait()
    assert (status, out, error) == (0, "True [True, True]\n[] []\n", "")


def test_a_launch_without_tls_gives_none(start):
    script = "print([w.identity for w in wait_for_workers()], 'TROUPE_TLS_CERT' in os.environ)"
    assert start(script).wait() == (0, "[[], []] False\n", "")


@pytest.mark.parametrize(
    ("command", "expected"),
    [
        ("launch -n 1 --tls-cert CERT THIS", "--tls-cert needs --tls-key too"),
        ("launch -n 1 --tls-key KEY THIS", "--tls-key needs --tls-cert too"),
        ("launch -n 1 --tls-cert CERT --tls-key /no/file THIS", "--tls-key '/no/file' cannot be read: No such file"),
        ("launch -n 1 --tls-cert KEY --tls-key KEY THIS", "TLS: the certificate is not one in PEM"),
        ("launch -n 1 --tls --tls-cert CERT --tls-key KEY THIS", "--tls makes a certificate and a key, --tls-cert and "),
        ("worker --join 127.0.0.1:1 --tls-cert CERT", "--tls-cert needs --tls-key too"),
        ("worker --join 127.0.0.1:1 --tls-cert CERT --tls-key OTHER", "TLS: the key is not that of the certificate"),
        ("worker --join 127.0.0.1:1 --tls-stdin", "--tls-stdin needs --token-stdin"),
        (
            "worker --join 127.0.0.1:1 --token-stdin --tls-stdin --tls-cert CERT --tls-key KEY",
            "--tls-stdin reads the certificate and the key, files give them: use one way",
        ),
    ],
)
def test_what_cannot_be_used_is_said(capsys, monkeypatch, tmp_path, files, command, expected):
    (tmp_path / "other.key").write_text(_troupe.new_tls_identity()[1])
    monkeypatch.setenv("TROUPE_TOKEN", TOKEN)
    names = {"CERT": files[0], "KEY": files[1], "OTHER": tmp_path / "other.key", "THIS": __file__}
    words = [str(names.get(word, word)) for word in command.split()]
    assert main(words) in (1, 2)
    assert expected in capsys.readouterr().err


def test_a_launch_with_files_of_its_own_lets_in_who_has_them(files, script):
    launch = [sys.executable, "-m", "troupe", "launch", "-n", "1", "--tls-cert", str(files[0]), "--tls-key", str(files[1])]
    ended = subprocess.run([*launch, script(DRIVER)], capture_output=True, text=True, timeout=DEADLINE_S)
    assert (ended.returncode, ended.stdout) == (0, "stepped\n"), ended.stderr
