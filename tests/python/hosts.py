"""A test bed of several hosts: network namespaces with an address and an sshd each, joined by a switch.

They share a kernel, processes and files, but reach one another through the network alone. Nothing of it touches the
network of the machine itself.
"""

from __future__ import annotations

import os
import re
import secrets
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

DEADLINE_S = 120.0  # far more than anything here takes
PORT = 2222  # of every sshd
HEAD = "head"  # where the launcher and the driver run


def missing() -> str | None:
    """Why there can be no test bed here; None when there can."""
    for program in ("ip", "ssh", "sshd", "ssh-keygen"):
        if _which(program) is None:
            return f"needs {program} (tests/system-packages.txt)"
    if os.geteuid() != 0:
        return "needs root, who may make network namespaces"
    name = f"probe{os.getpid()}"
    made = subprocess.run(["ip", "netns", "add", name], capture_output=True, text=True, check=False)
    if made.returncode != 0:
        return f"needs network namespaces: {made.stderr.strip()}"
    # ip mounts /sys anew for a command, which not every place allows.
    ran = subprocess.run(["ip", "netns", "exec", name, "true"], capture_output=True, text=True, check=False)
    call("ip", "netns", "delete", name)
    return None if ran.returncode == 0 else f"needs `ip netns exec`: {ran.stderr.strip()}"


def call(*command: str) -> str:
    """What a command writes; it must end well."""
    ended = subprocess.run(command, capture_output=True, text=True, timeout=DEADLINE_S, check=False)
    assert ended.returncode == 0, (command, ended.stdout, ended.stderr)
    return ended.stdout


class Network:
    """Hosts by name, the first of which is where commands are launched. `close` ends every process on them.

    `ssh` is the command that reaches them by these names, as `config` says. Addresses are 10.77.0.1 and so on.
    """

    def __init__(self, folder: Path, names: tuple[str, ...] = (HEAD, "node1", "node2", "node3")) -> None:
        self.names, self.folder = names, folder
        self.config = folder / "ssh.conf"
        self.ssh = f"ssh -F {self.config}"
        remove_abandoned()
        self._prefix = f"troupe-{os.getpid()}-{secrets.token_hex(4)}-"
        self._daemons: dict[str, subprocess.Popen[str]] = {}
        self._links: list[subprocess.Popen[str]] = []
        for key in ("host", "user", "stranger"):
            call("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(folder / key))
        self._make_config()
        try:
            self._join()
            for name in names:
                self._start_daemon(name)
            self._wait_for_daemons()
        except BaseException:
            self.close()
            raise

    def address(self, name: str) -> str:
        return f"10.77.0.{self.names.index(name) + 1}"

    def on(self, name: str, *command: str, **options) -> subprocess.Popen[str]:
        """Starts a command on a host."""
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
        options = {**pipes, "start_new_session": True, **options}
        return subprocess.Popen(["ip", "netns", "exec", self._prefix + name, *command], **options)

    def launch(self, *arguments: str, hosts: str | None = None, **options) -> subprocess.Popen[str]:
        """Starts `troupe launch` over the lines of a host file, by default two devices on each but the first."""
        lines = hosts or "".join(f"{name} slots=2 port={PORT}\n" for name in self.names[1:])
        (self.folder / "hosts").write_text(lines)
        launch = [sys.executable, "-m", "troupe", "launch", "--hosts", str(self.folder / "hosts")]
        ssh = () if "--ssh" in arguments else ("--ssh", self.ssh)
        return self.on(HEAD, *launch, *ssh, *arguments, **options)

    def pids(self, name: str) -> list[int]:
        """The processes on a host, without its sshd and what that started to check who comes."""
        daemon = self._daemons[name].pid if name in self._daemons else None
        pids = {int(pid) for pid in call("ip", "netns", "pids", self._prefix + name).split()}
        return sorted(pid for pid in pids if pid != daemon and _runs(pid))

    def workers(self, name: str) -> list[int]:
        """Of these, the workers themselves, without their supervisors."""
        found = []
        for pid in self.pids(name):
            command = _command(pid)
            if b"\0worker\0" in command and b"\0supervise\0" not in command and b"sshd" not in command:
                found.append(pid)
        return found

    def assert_empty(self) -> None:
        """Soon there is no process on any host, apart from its sshd."""
        until = time.monotonic() + DEADLINE_S
        while left := {(name, pid, _command(pid)) for name in self.names for pid in self.pids(name)}:
            assert time.monotonic() < until, f"still there: {left}"
            time.sleep(0.02)

    def connect(self, name: str, connected: bool) -> None:
        """Plugs a host's cable in or out."""
        state = "up" if connected else "down"
        call("ip", "-n", self._prefix + "switch", "link", "set", f"to-{name}", state)

    def link_slowly(self, name: str, delay_ms: float, loss: float) -> None:
        """Joins the first host and another by a slow link too; they have the addresses of slow_link.py there."""
        ends = [self._prefix + end for end in (self.names[0], name)]
        command = [sys.executable, str(Path(__file__).parent / "slow_link.py"), *ends, str(delay_ms), str(loss)]
        self._links.append(subprocess.Popen(command, stdout=subprocess.PIPE, text=True))
        assert self._links[-1].stdout.readline() == "linked\n"

    def daemon(self, name: str) -> subprocess.Popen[str]:
        """A host's sshd."""
        return self._daemons[name]

    def close(self) -> None:
        """Ends everything on the hosts, and the hosts."""
        for link in self._links:
            link.kill()
            link.communicate(timeout=DEADLINE_S)
        for name in (*self.names, "switch"):
            _remove(self._prefix + name)
        for daemon in self._daemons.values():
            daemon.communicate(timeout=DEADLINE_S)

    def _join(self) -> None:
        switch = self._prefix + "switch"
        call("ip", "netns", "add", switch)
        call("ip", "-n", switch, "link", "add", "bridge", "type", "bridge")
        call("ip", "-n", switch, "link", "set", "bridge", "up")
        for name in self.names:
            host = self._prefix + name
            call("ip", "netns", "add", host)
            end = ["peer", "name", "eth0", "netns", host]
            call("ip", "-n", switch, "link", "add", f"to-{name}", "type", "veth", *end)
            call("ip", "-n", switch, "link", "set", f"to-{name}", "master", "bridge", "up")
            call("ip", "-n", host, "address", "add", f"{self.address(name)}/24", "dev", "eth0")
            for link in ("lo", "eth0"):
                call("ip", "-n", host, "link", "set", link, "up")

    def _make_config(self) -> None:
        lines = [f"Host {name}\n  HostName {self.address(name)}\n" for name in self.names]
        lines += [
            "Host *\n",
            "  User root\n",
            "  IdentitiesOnly yes\n",
            "  IdentityAgent none\n",
            f"  IdentityFile {self.folder / 'user'}\n",
            f"  UserKnownHostsFile {self.folder / 'known'}\n",
            "  GlobalKnownHostsFile /dev/null\n",
        ]
        self.config.write_text("".join(lines))
        key = (self.folder / "host.pub").read_text()
        (self.folder / "known").write_text(f"[10.7?.0.*]:{PORT} {key}")

    def _start_daemon(self, name: str) -> None:
        config = self.folder / f"sshd-{name}.conf"
        lines = {
            "ListenAddress": f"0.0.0.0:{PORT}",
            "HostKey": self.folder / "host",
            "AuthorizedKeysFile": self.folder / "user.pub",
            "StrictModes": "no",
            "UsePAM": "no",
            "PasswordAuthentication": "no",
            "PermitRootLogin": "prohibit-password",
            "PidFile": "none",
        }
        config.write_text("".join(f"{key} {value}\n" for key, value in lines.items()))
        Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)  # where sshd locks itself up
        # `ip netns exec` becomes the command, so the process is sshd.
        self._daemons[name] = self.on(name, _which("sshd"), "-D", "-e", "-f", str(config), stderr=subprocess.DEVNULL)

    def _wait_for_daemons(self) -> None:
        until = time.monotonic() + DEADLINE_S
        for name, daemon in self._daemons.items():
            while self.on(HEAD, *self.ssh.split(), "-p", str(PORT), name, "true").wait(DEADLINE_S) != 0:
                assert daemon.poll() is None and time.monotonic() < until, f"no sshd on {name}"
                time.sleep(0.05)


def _remove(namespace: str) -> None:
    """Ends what runs in it, and it."""
    listed = subprocess.run(["ip", "netns", "pids", namespace], capture_output=True, text=True, check=False)
    for pid in listed.stdout.split():
        try:
            os.kill(int(pid), signal.SIGKILL)
        except ProcessLookupError:
            continue
    subprocess.run(["ip", "netns", "delete", namespace], capture_output=True, check=False)


def remove_abandoned() -> None:
    """Of test runs that were killed: those whose names have the process that made them, which is gone."""
    for line in call("ip", "netns", "list").splitlines():
        name = line.split()[0]
        made_by = re.match(r"troupe-(\d+)-[0-9a-f]{8}-", name)
        if made_by and not _runs(int(made_by[1])):
            _remove(name)


def _which(program: str) -> str | None:
    return shutil.which(program, path=os.environ.get("PATH", "") + ":/usr/sbin:/sbin")


def _runs(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def _command(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except (FileNotFoundError, ProcessLookupError):
        return b""
