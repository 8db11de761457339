"""`troupe launch` over several hosts: each has a network of its own and a real sshd (hosts.py)."""

from __future__ import annotations

import os
import re
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import slow_link
from hosts import DEADLINE_S, PORT, Network, call, missing, remove_abandoned

WHY_NOT = missing()
pytestmark = pytest.mark.skipif(WHY_NOT is not None, reason=f"several hosts: {WHY_NOT}")

# A model on one device of the first worker: the others just belong to the run.
STEPS = """
import os
import numpy as np
import troupe as tr
from troupe import functional as F
from troupe import nn

model = nn.Linear(4, 3)
loss = lambda m, b: F.cross_entropy(m(b["x"]), b["y"])
step = tr.TrainStep(model, loss, tr.optim.SGD(model.parameters(), lr=0.1), mesh=tr.mesh("cpu", dp=1))
while step({"x": np.ones((8, 4), np.float32), "y": np.zeros(8, np.int64)}).loss:
    print(os.getpid(), flush=True)
"""


@pytest.fixture(scope="module")
def network(tmp_path_factory):
    made = Network(tmp_path_factory.mktemp("hosts"))
    yield made
    made.close()


def ended(process) -> tuple[int, str, str]:
    """Exit status, stdout, stderr."""
    out, error = process.communicate(timeout=DEADLINE_S)
    return process.returncode, out, error


def stepping(process) -> int:
    """The driver, once it trains."""
    line = process.stdout.readline()
    assert line, process.stderr.read()
    return int(line)


def test_a_script_that_needs_no_devices_starts_no_worker(network, script):
    text = "import os; print(os.environ['TROUPE_WORKERS'], os.environ['TROUPE_LISTEN'])"
    launched = network.launch("--", script(text))
    assert ended(launched) == (0, f"3 {network.address('head')}\n", "")
    network.assert_empty()


def test_the_hosts_of_a_file_offer_their_slots(network, script):
    lines = f"# a comment\nnode3 slots=3 port={PORT}\nnode1 devices=cpu=2 port={PORT} user=root\n"
    text = STEPS.replace("dp=1", "dp=8")
    status, out, error = ended(network.launch("--", script(text), hosts=lines))
    assert (status, out) == (1, "")
    assert re.search(r"runs on 8 devices, cpu:0 to cpu:7; the run's workers offer 5 \(3 \+ 2\)", error), error
    network.assert_empty()


AT = f"port={PORT}"
# What is wrong -> the line of the host file, options of the command, what ssh says last.
WRONG = {
    "nobody has the address": ("10.77.0.99", "", r"ssh: connect to host 10\.77\.0\.99 port 22: .*"),
    "no sshd at the port": ("node2 port=2223", "", r"ssh: connect to host 10\.77\.0\.3 port 2223: Connection refused"),
    "another key": (f"node2 {AT}", "--ssh 'ssh -F FOLDER/another-key'", r"root@10\.77\.0\.3: Permission denied .*"),
    "another host": (f"node2 {AT}", "--ssh 'ssh -F FOLDER/another-host'", r"Host key verification failed\."),
    "no such user": (f"node2 {AT} user=nobody-at-all", "", r"nobody-at-all@10\.77\.0\.3: Permission denied .*"),
    "no such Python": (f"node2 {AT}", "--python /no/such/python", r".*/no/such/python: (not found|No such .*)"),
    "a Python without it": (f"node2 {AT}", "--python /usr/bin/python3", r".*No module named troupe"),
    "sshd is stopped": (f"node2 {AT}", "--ssh 'ssh -F FOLDER/ssh.conf -o ConnectTimeout=2'", r".*timed out.*"),
}


@pytest.mark.parametrize("wrong", WRONG)
def test_a_host_that_cannot_be_had_is_named_and_all_ends(network, script, wrong):
    line, options, why = WRONG[wrong]
    config = network.config.read_text()
    (network.folder / "another-key").write_text(config.replace("/user\n", "/stranger\n"))
    (network.folder / "another-host").write_text(config.replace("/known\n", "/known-otherwise\n"))
    key = (network.folder / "stranger.pub").read_text()
    (network.folder / "known-otherwise").write_text(f"[{network.address('node2')}]:{PORT} {key}")
    words = shlex.split(options.replace("FOLDER", str(network.folder)))
    # With one host it is the failure of this one that ends the run; with two, another has a worker already.
    lines = line if options else f"node1 {AT}\n{line}"
    began = time.monotonic()
    if wrong == "sshd is stopped":
        network.daemon("node2").send_signal(signal.SIGSTOP)
    try:
        status, _, error = ended(network.launch(*words, "--", script(STEPS), hosts=lines))
    finally:
        network.daemon("node2").send_signal(signal.SIGCONT)
    assert status == 128 + signal.SIGTERM and time.monotonic() - began < 30
    name = line.split()[0]
    says = [text for text in error.splitlines() if text.startswith("troupe launch: ")]
    tried = r"\(`ssh -F .*` ended with exit status \d+\)"
    assert re.fullmatch(f"troupe launch: {re.escape(name)}: no worker was started: {why} {tried}", says[0]), error
    assert says[1] == f"troupe launch: the script cannot have its worker on {name}; it gets SIGTERM"
    network.assert_empty()


@pytest.mark.parametrize("kind", ["driver", "launcher"])
def test_nothing_is_left_on_any_host_of_a_run_that_is_killed(network, script, kind):
    launched = network.launch("--", script(STEPS))
    driver = stepping(launched)
    assert [len(network.workers(name)) for name in network.names] == [0, 1, 1, 1]
    os.kill(driver if kind == "driver" else launched.pid, signal.SIGKILL)
    status, _, _ = ended(launched)
    assert status == (128 + signal.SIGKILL if kind == "driver" else -signal.SIGKILL)
    network.assert_empty()


def test_a_killed_launcher_ends_workers_that_are_stopped(network, script):
    launched = network.launch("--", script(STEPS))
    stepping(launched)
    os.kill(network.workers("node3")[0], signal.SIGSTOP)
    launched.kill()
    ended(launched)
    network.assert_empty()


def test_an_interrupt_ends_the_run_on_all_hosts(network, script):
    launched = network.launch("--", script(STEPS))
    stepping(launched)
    launched.send_signal(signal.SIGINT)
    status, _, error = ended(launched)
    assert status == 128 + signal.SIGINT and "KeyboardInterrupt" in error
    network.assert_empty()


@pytest.mark.parametrize("kind", ["SIGKILL", "SIGSTOP"])
def test_a_worker_that_fails_is_named_by_its_host(network, script, kind):
    launched = network.launch("--", script(STEPS))
    stepping(launched)
    (worker,) = network.workers("node2")
    os.kill(worker, signal.Signals[kind])
    status, _, error = ended(launched)
    what = "is gone" if kind == "SIGKILL" else "has gone silent"
    assert status == 1
    assert re.search(rf"FaultError: .*worker \d \(node2, process {worker}\) {what}", error), error
    if kind == "SIGKILL":
        assert "troupe launch: node2: its worker was killed by signal 9 (SIGKILL)\n" in error
    network.assert_empty()


def test_a_connection_of_ssh_that_breaks_takes_its_worker_along(network, script):
    launched = network.launch("--", script(STEPS))
    stepping(launched)
    sessions = [pid for pid in network.pids("node2") if pid not in network.workers("node2")]
    for pid in sessions:
        os.kill(pid, signal.SIGKILL)
    status, _, error = ended(launched)
    assert status == 1
    assert re.search(r"FaultError: .*worker \d \(node2, process \d+\) is gone", error), error
    assert "troupe launch: node2: the connection to its worker broke: " in error
    network.assert_empty()


def test_a_host_that_loses_its_network_is_named_and_cleans_up_once_it_is_back(network, script):
    launched = network.launch("--", script(STEPS))
    stepping(launched)
    network.connect("node2", False)
    try:
        status, _, error = ended(launched)
        assert status == 1
        assert re.search(r"FaultError: .*worker \d \(node2, process \d+\) has gone silent", error), error
    finally:
        network.connect("node2", True)
    network.assert_empty()


@pytest.fixture(scope="module")
def slow_network(tmp_path_factory):
    """Two hosts, and between them also a link with a round trip of 40 ms that loses a packet in fifty."""
    if (why := slow_link.missing()) is not None:
        pytest.skip(f"a slow link: {why}")
    made = Network(tmp_path_factory.mktemp("slow"), ("head", "node1"))
    try:
        made.link_slowly("node1", 20, 0.02)
        yield made
    finally:
        made.close()


SLOWLY = {**os.environ, "TROUPE_HEARTBEAT_S": "5"}  # beats are lost too


def test_a_worker_joins_over_a_slow_link_and_is_named_when_it_is_gone(slow_network, script):
    here, there = slow_link.ADDRESSES
    began = time.monotonic()
    text = "import os; print(os.environ['TROUPE_LISTEN'], flush=True)" + STEPS
    launched = slow_network.launch("--", script(text), hosts=f"{there} {AT}", env=SLOWLY)
    assert launched.stdout.readline() == f"{here}\n", launched.stderr.read()
    stepping(launched)
    assert time.monotonic() - began > 0.4  # ssh alone takes ten round trips
    (worker,) = slow_network.workers("node1")
    os.kill(worker, signal.SIGKILL)
    status, _, error = ended(launched)
    assert status == 1
    assert f"worker 0 ({there}, process {worker}) is gone" in error
    slow_network.assert_empty()


def test_a_link_that_delays_and_loses_packets(slow_network):
    answer = slow_network.on("node1", sys.executable, "-c", ECHO, slow_link.ADDRESSES[1])
    assert answer.stdout.readline() == "ready\n"
    asking = slow_network.on("head", sys.executable, "-c", ASK, slow_link.ADDRESSES[1])
    status, out, error = ended(asking)
    answer.kill()
    ended(answer)
    assert status == 0, error
    count, fastest_s = out.split()
    assert 200 < int(count) < 300 and float(fastest_s) >= 0.04


TRAINING = str(Path(__file__).parent / "over_workers.py")


def trained(process) -> str:
    """What the script printed: the bits of losses, weights and what it generated."""
    status, out, error = ended(process)
    assert status == 0, error
    assert "weights" in out
    return out


@pytest.mark.parametrize(
    "mesh, recipe, options", [("dp=3,pp=2", "zero1+1f1b", ()), ("dp=3,tp=2", "zero3+megatron", ("--tls",))]
)
def test_a_training_over_hosts_has_the_bits_of_one_process(network, mesh, recipe, options):
    alone = trained(network.on("head", sys.executable, TRAINING, mesh, recipe))
    assert trained(network.launch(*options, "--", TRAINING, mesh, recipe)) == alone
    network.assert_empty()


# Four steps of a model whose gradients go over the link, then its weights.
SLOW_STEPS = """
import numpy as np
import troupe as tr
from troupe import functional as F
from troupe import nn

model = nn.Linear(300, 200)
loss = lambda m, b: F.cross_entropy(m(b["x"]), b["y"])
step = tr.TrainStep(model, loss, tr.optim.AdamW(model.parameters(), lr=0.01), mesh=tr.mesh("cpu", dp=2),
                    recipe=tr.recipes.zero(1))
for i in range(4):
    random = np.random.default_rng(i)
    batch = {"x": random.normal(size=(8, 300)).astype(np.float32), "y": random.integers(0, 200, 8)}
    print(float(step(batch).loss).hex())
print("weights", np.asarray(model.weight).tobytes().hex()[:4000])
"""


# Fewer rows and columns than hosts, so that a host has none of them.
EMPTY_PARTS = """
import numpy as np
import troupe as tr
from troupe import functional as F
from troupe import nn

model = nn.Sequential(nn.Linear(2, 1), nn.Linear(1, 2))
loss = lambda m, b: F.cross_entropy(m(b["x"]), b["y"])
step = tr.TrainStep(model, loss, tr.optim.AdamW(model.parameters(), lr=0.01), mesh=tr.mesh("cpu", dp=3),
                    recipe=tr.recipes.zero(3), batch_shards=4)
for i in range(3):
    random = np.random.default_rng(i)
    print(float(step({"x": random.normal(size=(4, 2)).astype(np.float32), "y": random.integers(0, 2, 4)}).loss).hex())
print("weights", [value.tobytes().hex() for value in model.state_dict().values()])
"""


def test_a_host_may_have_an_empty_part(network, script):
    path = script(EMPTY_PARTS)
    alone = trained(network.on("head", sys.executable, path))
    assert trained(network.launch("--", path)) == alone
    network.assert_empty()


def test_a_training_over_a_slow_link_has_the_bits_of_one_process(slow_network, script):
    path = script(SLOW_STEPS)
    alone = trained(slow_network.on("head", sys.executable, path))
    # One worker on each side of the link.
    lines = "".join(f"{address} {AT}\n" for address in slow_link.ADDRESSES)
    launch = ["--listen", slow_link.ADDRESSES[0], "--", path]
    assert trained(slow_network.launch(*launch, hosts=lines, env=SLOWLY)) == alone
    slow_network.assert_empty()


ECHO = """
import socket, sys
with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as end:
    end.bind((sys.argv[1], 9999))
    print("ready", flush=True)
    while True:
        end.sendto(*end.recvfrom(99))
"""

# Sends 300 packets, and prints how many came back and how long the fastest took.
ASK = """
import socket, sys, time
with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as end:
    end.settimeout(1)
    for number in range(300):
        end.sendto(f"{number} {time.monotonic()}".encode(), (sys.argv[1], 9999))
        time.sleep(0.002)
    times = []
    try:
        while True:
            text = end.recv(99)
            times.append(time.monotonic() - float(text.split()[1]))
    except TimeoutError:
        print(len(times), min(times))
"""


# Makes a network, and is killed.
ABANDON = """
import os, signal, sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from hosts import Network
Network(Path(sys.argv[2]), ("head",))
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_hosts_of_a_test_run_that_was_killed_are_removed(network, tmp_path):
    maker = subprocess.Popen([sys.executable, "-c", ABANDON, str(Path(__file__).parent), str(tmp_path)])
    assert maker.wait(DEADLINE_S) == -signal.SIGKILL
    abandoned = f"troupe-{maker.pid}-"
    (host,) = (line for line in call("ip", "netns", "list").split() if line.startswith(abandoned) and "head" in line)
    assert call("ip", "netns", "pids", host).split()  # its sshd
    remove_abandoned()
    assert abandoned not in call("ip", "netns", "list")
    assert network.daemon("head").poll() is None  # ours are there
