"""Runs of `troupe launch` with stand-ins for the script that drives and for the workers."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import textwrap
import time
from pathlib import Path

from troupe import launch, launcher
from troupe.launcher import memory
from troupe.launcher.settings import Settings

DEADLINE_S = 30.0  # far more than anything here takes

# Runs the launcher as `troupe launch` would, with another worker and shorter waits.
LAUNCHER = """
import json, os, signal, sys
sys.path.append(sys.argv[1])
from launcher.run import run
from launcher.settings import Settings, Waits
options = json.loads(sys.argv[2])
if options["terminal"]:
    os.open(os.ttyname(0), os.O_RDWR)  # the first one that a session opens controls it
for number in options["ignored"]:
    signal.signal(number, signal.SIG_IGN)
sys.exit(run(Settings.of_json(options["settings"]), options["worker"], Waits(**options["waits"])))
"""

# Instead of ssh: reaches every host by staying on this one, unless the host's name says what is wrong with it.
SSH = """
import os, sys, time
host, line = sys.argv[-2:]
if host == "refuses":
    print("ssh: connect to host refuses port 22: Connection refused", file=sys.stderr)
    sys.exit(255)
if host == "hangs":
    print("the shell of this host begins", flush=True)
    time.sleep(99)
if host == "silent":
    sys.exit()
if host == "empty":
    line = "cd /nowhere/at/all && " + line
os.execvp("sh", ["sh", "-c", line])
"""

# Does what its driver says, until the connection closes.
WORKER = """
import json, os, signal, socket, sys, time
if "--token-stdin" in sys.argv:
    words = [word for word in sys.argv if word != "--token-stdin"]
    os.execv(sys.executable, [sys.executable, "-I", "-S", os.environ["LAUNCHER"], "supervise", *words])
options = dict(zip(sys.argv[1::2], sys.argv[2::2]))
host, port = options["--join"].split(":")
link = socket.create_connection((host, int(port)))
facts = {"pid": os.getpid(), "devices": options["--devices"], "token": os.environ["TROUPE_TOKEN"]}
facts["identity"] = [open(options[name]).read() for name in ("--tls-cert", "--tls-key") if name in options]
link.sendall(json.dumps(facts).encode() + b"\\n")
for line in link.makefile():
    exec(json.loads(line))
    link.sendall(b"done\\n")
"""

# What a driver's script imports: `wait_for_workers` listens, and notes the pids of all in a file beside the script.
DRIVING = """
import json, os, signal, socket, sys, time

def write(path, value):
    with open(path + ".new", "w") as file:
        json.dump(value, file)
    os.rename(path + ".new", path)

class Worker:
    def __init__(self, link):
        self.lines, self.link = link.makefile(), link
        self.__dict__.update(json.loads(self.lines.readline()))

    def tell(self, code):
        self.link.sendall(json.dumps(code).encode() + b"\\n")

    def do(self, code):
        self.tell(code)
        return self.lines.readline() == "done\\n"

def wait_for_workers():
    listener = socket.create_server(("127.0.0.1", 0))
    address = "%s:%d" % listener.getsockname()
    write(os.environ["TROUPE_RUN_DIR"] + "/driver.json", {"address": address, "pid": os.getpid()})
    workers = [Worker(listener.accept()[0]) for _ in range(int(os.environ["TROUPE_WORKERS"]))]
    write(os.path.dirname(__file__) + "/pids", [os.getpid(), *(w.pid for w in workers)])
    return workers
"""


class Launched:
    """A launcher that runs, in a session without a terminal unless `terminal` gives one."""

    def __init__(
        self,
        folder,
        script,
        *,
        workers=2,
        devices="cpu=1",
        timeout=None,
        terminal=None,
        ignored=(),
        hosts=(),
        listen=None,
        slurm=False,
        identity=None,
        **waits,
    ):
        (folder / "driving.py").write_text(DRIVING)
        (folder / "worker.py").write_text(WORKER)
        (folder / "ssh.py").write_text(SSH)
        (folder / "train.py").write_text("from driving import *\n" + textwrap.dedent(script))
        self.folder = folder
        ssh = [sys.executable, str(folder / "ssh.py")]
        command = [str(folder / "train.py")]
        tls = None if identity is None else memory.keep(identity)
        settings = Settings(workers, devices, timeout, command, list(hosts), ssh, listen=listen, slurm=slurm, tls=tls)
        options = {
            "settings": settings.as_json(),
            "worker": [str(folder / "worker.py")],
            "waits": {"worker_ends": 0.3, **waits},
            "terminal": terminal is not None,
            "ignored": list(ignored),
        }
        self.process = subprocess.Popen(
            [sys.executable, "-I", "-S", "-c", LAUNCHER, os.path.dirname(launch.__file__), json.dumps(options)],
            stdin=subprocess.DEVNULL if terminal is None else terminal,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env={
                **os.environ,
                "TMPDIR": str(folder),
                "LAUNCHER": os.path.dirname(launcher.__file__),
                "PYTHONUNBUFFERED": "",  # a line of the driver's is written whole
            },
            cwd=folder,
            start_new_session=True,
            text=True,
            pass_fds=() if tls is None else (tls,),
        )
        if tls is not None:
            os.close(tls)

    def wait(self) -> tuple[int, str, str]:
        """Exit status, stdout, stderr."""
        out, error = self.process.communicate(timeout=DEADLINE_S)
        return self.process.returncode, out, error

    def heard(self, line: str) -> None:
        """Waits for this line on stdout."""
        assert self.process.stdout.readline() == line + "\n"

    def pids(self) -> list[int]:
        """Of the driver and of the workers."""
        return json.loads((self.folder / "pids").read_text())


def runs(pid: int) -> bool:
    """Whether a process is there, and is not one that ended and was not waited for yet."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def assert_all_end(pids: list[int]) -> None:
    assert pids
    until = time.monotonic() + DEADLINE_S
    while left := [pid for pid in pids if runs(pid)]:
        assert time.monotonic() < until, f"still there: {left}"
        time.sleep(0.01)
