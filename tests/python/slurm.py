"""A test bed of Slurm: its controller, and a daemon for each of three nodes that all are this machine. Everything of it
is in one folder and ends with the test."""

from __future__ import annotations

import os
import re
import secrets
import shutil
import socket
import subprocess
import sys
import time
from contextlib import ExitStack
from pathlib import Path

from troupe.launcher.processes import start

DEADLINE_S = 120.0  # far more than anything here takes
NODES = ("n1", "n2", "n3")
CPUS = 4  # of each, whatever the machine has

_DAEMONS = ("munged", "slurmctld", "slurmd")
_CLIENTS = ("srun", "salloc", "sbatch", "scancel", "scontrol", "sinfo")


def missing() -> str | None:
    """Why there can be no test bed here; None when there can."""
    for program in (*_DAEMONS, *_CLIENTS):
        if _which(program) is None:
            return f"needs {program} (tests/system-packages.txt)"
    return None if os.geteuid() == 0 else "needs root, who may run its daemons"


class Slurm:
    """The nodes n1, n2 and n3 with four CPUs each. `close` ends every job and the daemons."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._config = folder / "slurm.conf"
        self.environment = {**os.environ, "SLURM_CONF": str(self._config)}
        self._daemons: dict[str, subprocess.Popen[bytes]] = {}
        self._write_config()
        try:
            self._start_munge()
            self._start("slurmctld", "-D", "-c")
            for node in NODES:
                self.start_node(node)
            self.wait_until_idle()
        except BaseException:
            self.close()
            raise

    def start_node(self, node: str) -> None:
        (self._folder / f"spool-{node}").mkdir(exist_ok=True)
        self._start("slurmd", "-D", "-N", node, name=node)

    def kill_node(self, node: str) -> None:
        """Ends its daemon, unseen by the controller."""
        daemon = self._daemons.pop(node)
        daemon.kill()
        daemon.wait(DEADLINE_S)

    def wait_until_idle(self) -> None:
        """No job, and all nodes ready for one."""
        until = time.monotonic() + DEADLINE_S
        while self.call("sinfo", "--noheader", "--states=idle", "--format=%D").strip() != str(len(NODES)):
            assert time.monotonic() < until, (self._folder / "slurmctld.log").read_text()
            time.sleep(0.05)

    def call(self, *command: str) -> str:
        """What a command writes; it must end well."""
        ended = subprocess.run(command, env=self.environment, capture_output=True, text=True, timeout=DEADLINE_S)
        assert ended.returncode == 0, (command, ended.stdout, ended.stderr)
        return ended.stdout

    def allocated(self, *command: str, nodes: str = "--nodes=3 --ntasks-per-node=2") -> subprocess.Popen[str]:
        """Starts a command in an allocation, by salloc."""
        pipes = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
        options = {"env": self.environment, "start_new_session": True, **pipes}
        return subprocess.Popen(["salloc", "--quiet", *nodes.split(), *command], **options)

    def launch(self, *arguments: str, **options) -> subprocess.Popen[str]:
        """The same for `troupe launch --slurm`."""
        return self.allocated(sys.executable, "-m", "troupe", "launch", "--slurm", *arguments, **options)

    def processes(self) -> dict[int, str]:
        """Those of all jobs: their command lines, by process id."""
        found = {}
        for entry in filter(str.isdecimal, os.listdir("/proc")):
            process = Path("/proc", entry)
            try:
                ours = f"SLURM_CONF={self._config}\0".encode() in (process / "environ").read_bytes()
                command = (process / "cmdline").read_bytes().decode().replace("\0", " ")
            except OSError:
                continue  # it has ended
            if ours and command and not any(daemon in command for daemon in _DAEMONS):
                found[int(entry)] = command
        return found

    def worker(self, node: str) -> int:
        """The worker on a node, without its supervisor."""
        offers = re.compile(rf"\S+ -P -m troupe worker --join \S+ --devices \S+ --host {node} --rank \d+ ?")
        (pid,) = (pid for pid, command in self.processes().items() if offers.fullmatch(command))
        return pid

    def assert_empty(self) -> None:
        """Soon there is no process of any job, and no job."""
        until = time.monotonic() + DEADLINE_S
        while left := self.processes():
            assert time.monotonic() < until, f"still there: {left}"
            time.sleep(0.02)
        self.wait_until_idle()

    def close(self) -> None:
        with ExitStack() as rest:
            for daemon in self._daemons.values():
                rest.callback(daemon.wait, DEADLINE_S)
                rest.callback(daemon.terminate)
            if "slurmctld" in self._daemons and self._daemons["slurmctld"].poll() is None:
                self.call("scancel", "--full", "--user=root")
                self.assert_empty()

    def _start(self, program: str, *arguments: str, name: str | None = None) -> None:
        with (self._folder / f"{name or program}.log").open("ab") as log:
            self._daemons[name or program] = start(
                [_which(program), *arguments],
                {"SLURM_CONF": str(self._config)},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def _start_munge(self) -> None:
        key, socket_path = self._folder / "munge.key", self._folder / "munge.socket"
        key.touch(mode=0o600)
        key.write_bytes(secrets.token_bytes(128))
        files = [f"--{name}-file={self._folder / f'munge.{name}'}" for name in ("key", "pid", "seed", "log")]
        # --force: also where others cannot get into the folder, as they need not.
        self._start("munged", "--foreground", "--force", f"--socket={socket_path}", *files)
        until = time.monotonic() + DEADLINE_S
        while not socket_path.exists():
            assert time.monotonic() < until, (self._folder / "munged.log").read_text()
            time.sleep(0.01)

    def _write_config(self) -> None:
        control, *ports = _free_ports(1 + len(NODES))
        lines = {
            "ClusterName": "test",
            "SlurmctldHost": "localhost",
            "SlurmctldPort": control,
            "SlurmUser": "root",
            "AuthInfo": f"socket={self._folder}/munge.socket",
            "MpiDefault": "none",
            "ProctrackType": "proctrack/linuxproc",
            "TaskPlugin": "task/none",
            "SelectType": "select/cons_tres",
            "SelectTypeParameters": "CR_CPU",
            "SchedulerParameters": "batch_sched_delay=0,sched_interval=1",
            "StateSaveLocation": self._folder / "state",
            "SlurmdSpoolDir": f"{self._folder}/spool-%n",
            "SlurmctldPidFile": self._folder / "slurmctld.pid",
            "SlurmdPidFile": f"{self._folder}/%n.pid",
            "SlurmdParameters": "config_overrides",  # the CPUs below, whatever the machine has
            "ReturnToService": 2,
            "KillWait": 2,
            "MessageTimeout": 5,  # seconds; srun gives up a node that refuses connections for so long
        }
        (self._folder / "state").mkdir()
        text = "".join(f"{key}={value}\n" for key, value in lines.items())
        for node, port in zip(NODES, ports, strict=True):
            text += f"NodeName={node} NodeHostname=localhost NodeAddr=127.0.0.1 Port={port} CPUs={CPUS}\n"
        self._config.write_text(text + f"PartitionName=all Nodes={','.join(NODES)} Default=YES\n")


def _free_ports(count: int) -> list[int]:
    with ExitStack() as held:
        return [
            held.enter_context(socket.create_server(("127.0.0.1", 0))).getsockname()[1] for _ in range(count)
        ]


def _which(program: str) -> str | None:
    return shutil.which(program, path=os.environ.get("PATH", "") + ":/usr/sbin:/sbin")
