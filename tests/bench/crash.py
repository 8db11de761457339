"""How long it takes from the SIGKILL of a worker until the call of its driver raises.

    .venv/bin/python tests/bench/crash.py [--runs 10]

"near": two workers on this host; "far": two hosts, which are network namespaces (as in tests/python/hosts.py; needs
root), with ssh between them; each in the clear and with --tls. A run trains on both workers, one of which is killed at a
random moment. Prints the median and the spread of each, and everything as JSON in the last line.
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parents[1] / "python"))

import hosts

LIMIT_S = 120

SCRIPT = """
import os, random, signal, threading, time
import numpy as np
import troupe as tr
from troupe import functional as F
from troupe import nn

model = nn.Sequential(nn.Linear(64, 64), nn.Linear(64, 8))
loss = lambda m, b: F.cross_entropy(m(b["x"]), b["y"])
step = tr.TrainStep(model, loss, tr.optim.SGD(model.parameters(), lr=0.1), mesh=tr.mesh("cpu", dp=2))
data = {"x": np.ones((8, 64), np.float32), "y": np.zeros(8, np.int64)}
step(data)
victim = random.choice(step.session.cluster.workers())[1]


def kill():
    global struck
    time.sleep(random.uniform(0.1, 0.3))
    struck = time.monotonic()
    os.kill(victim, signal.SIGKILL)


threading.Thread(target=kill).start()
try:
    while True:
        step(data)
except tr.FaultError as fault:
    seen = time.monotonic()
    assert f"process {victim})" in str(fault), fault
    print(seen - struck)
"""


def seconds(launched: subprocess.Popen) -> float:
    out, error = launched.communicate(timeout=LIMIT_S)
    assert out, error
    return float(out)


def near(script: Path, *options: str) -> float:
    command = [sys.executable, "-m", "troupe", "launch", "-n", "2", *options, "--", str(script)]
    return seconds(subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=10, help="of each kind")
    runs = parser.parse_args().runs
    with tempfile.TemporaryDirectory() as folder:
        script = Path(folder, "script.py")
        script.write_text(SCRIPT)
        kinds = {"near": lambda *options: near(script, *options)}
        network = None
        if (why := hosts.missing()) is None:
            network = hosts.Network(Path(folder), (hosts.HEAD, "node1", "node2"))
            lines = "".join(f"{name} slots=1 port={hosts.PORT}\n" for name in network.names[1:])
            kinds["far"] = lambda *options: seconds(network.launch(*options, "--", str(script), hosts=lines))
        else:
            print(f"far: {why}", file=sys.stderr)
        try:
            results = {}
            for name, run in kinds.items():
                for how, options in (("in the clear", ()), ("with TLS", ("--tls",))):
                    times = [run(*options) for _ in range(runs)]
                    results[f"{name}, {how}"] = times
                    middle, least, most = (1000 * f(times) for f in (statistics.median, min, max))
                    print(f"{name}, {how}: {middle:.1f} ms ({least:.1f} to {most:.1f})", flush=True)
        finally:
            if network is not None:
                network.close()
    print(json.dumps(results))


if __name__ == "__main__":
    main()
