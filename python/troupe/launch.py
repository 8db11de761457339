"""`troupe launch`: one driver, the user's script, and N workers on this host, which live and end together.

The driver finds in its environment TROUPE_RUN_DIR (a directory of mode 0700), TROUPE_WORKERS (how many will come) and
TROUPE_TOKEN (64 hexadecimal digits, the secret of the run; the workers have it too). When it first needs devices it
listens and writes TROUPE_RUN_DIR/driver.json, whole at once by a rename: {"address": "127.0.0.1:41234", "pid": 123}.
Then the workers start. A script that needs no devices just ends.

The launcher is a process with one thread until the workers run, and imports nothing but the standard library: it takes
its signals from a queue, which another thread, such as NumPy's, would empty; and a child dies with the thread that
started it. So `start` replaces the process that parsed the command line by one that runs this file alone.
"""

from __future__ import annotations

import argparse
import ctypes
import json
import math
import os
import secrets
import selectors
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

_FORWARDED = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_POLL_S = 0.05  # how often driver.json is looked for
_LIBC = ctypes.CDLL(None)  # loaded here: nothing should be, between fork and exec
_PR_SET_PDEATHSIG = 1


@dataclass(frozen=True)
class Settings:
    """What to run: `command` is what follows the interpreter, `devices` is KIND=COUNT for each worker, `timeout` the
    seconds that the driver may take."""

    workers: int
    devices: str
    timeout: float | None
    command: list[str]


@dataclass(frozen=True)
class Waits:
    """Seconds until the launcher helps on what does not end by itself."""

    driver_ends: float = 10.0  # after SIGTERM; then SIGKILL
    driver_notices: float = 30.0  # after a worker failed; then SIGTERM
    worker_ends: float = 2.0  # after the driver ended, and again after SIGTERM; then SIGKILL


@dataclass(frozen=True)
class Worker:
    """A worker's process, and the name that its lines and errors carry."""

    name: str
    process: subprocess.Popen[bytes]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `troupe launch`; where torchrun has the same, by the same name."""
    parser.usage = "%(prog)s -n N [--devices cpu=K] [--timeout S] [--] (SCRIPT | -m MODULE) [ARGUMENT ...]"
    parser.add_argument("-n", "--nproc-per-node", type=int, required=True, metavar="N", help="number of workers")
    parser.add_argument("--devices", default="cpu=1", metavar="KIND=COUNT", help="of each worker (default: cpu=1)")
    parser.add_argument("--timeout", type=float, metavar="S", help="seconds after which the script gets SIGTERM")
    parser.add_argument("-m", "--module", action="store_true", help="the script is a module, as in python -m")
    parser.add_argument("command", nargs=argparse.REMAINDER, metavar="SCRIPT", help="the driver, and its arguments")


def settings_of(arguments: argparse.Namespace) -> Settings:
    """The checked settings; ValueError says in one line what is wrong."""
    command = list(arguments.command)
    if command[:1] == ["--"]:
        del command[0]
    if arguments.module:
        command.insert(0, "-m")
    if not command or command == ["-m"]:
        raise ValueError("no command: give a script, or -m and a module, after the options")
    if command[0] != "-m" and not os.path.exists(command[0]):
        raise ValueError(f"there is no script '{command[0]}'")
    if arguments.nproc_per_node < 1:
        raise ValueError(f"-n is {arguments.nproc_per_node}; at least 1 worker is needed")
    kind, _, count = arguments.devices.partition("=")
    if not kind or not count.isdecimal() or int(count) < 1:
        raise ValueError(f"--devices '{arguments.devices}' is not KIND=COUNT, as in cpu=4")
    if kind != "cpu":
        raise ValueError(f"--devices {arguments.devices}: this build has no CUDA kernels; give cpu=COUNT")
    if arguments.timeout is not None and not 0 < arguments.timeout < math.inf:
        raise ValueError(f"--timeout is {arguments.timeout:g}; it must be a number of seconds above 0")
    return Settings(arguments.nproc_per_node, f"cpu={int(count)}", arguments.timeout, command)


def start(arguments: argparse.Namespace) -> int:
    """Becomes the launcher; returns only when the arguments are wrong: 2, having said so."""
    try:
        settings = settings_of(arguments)
    except ValueError as error:
        _say(str(error))
        return 2
    launcher = [sys.executable, "-I", "-S", os.path.abspath(__file__)]
    os.execv(sys.executable, [*launcher, json.dumps(asdict(settings))])


def run(settings: Settings, worker: Sequence[str] = ("-P", "-m", "troupe", "worker"), waits: Waits = Waits()) -> int:
    """Runs the driver and its workers; the driver's exit status, 128 + the signal where one killed it. `worker` is
    what follows the interpreter, before --join and --devices (-P: nothing in the current directory is imported)."""
    with tempfile.TemporaryDirectory(prefix="troupe-", ignore_cleanup_errors=True) as directory:
        return _Run(settings, worker, waits, directory).run()


class _Run:
    """The processes of one run."""

    def __init__(self, settings: Settings, worker: Sequence[str], waits: Waits, directory: str) -> None:
        self._settings, self._worker, self._waits = settings, worker, waits
        self._ready = os.path.join(directory, "driver.json")
        self._secret = {"TROUPE_TOKEN": secrets.token_hex(32)}  # in environments alone: command lines are public
        self._workers: list[Worker] = []
        self._failed: set[str] = set()
        self._output: threading.Thread | None = None
        # What is ignored stays so, as under nohup. What is blocked waits in a queue until `_wait`.
        self._signals = {s for s in _FORWARDED if signal.getsignal(s) != signal.SIG_IGN} | {signal.SIGCHLD}
        for number in self._signals:
            signal.signal(number, signal.SIG_DFL)
        self._mask = signal.pthread_sigmask(signal.SIG_BLOCK, self._signals)
        # At a terminal the driver is in our group: its foreground group, whose processes may read from it and all get
        # Ctrl-C. Elsewhere it has a group of its own, so that a signal to our group does not reach it twice.
        self._shares_group = _has_terminal()
        self._driver = self._start(
            settings.command,
            {**self._secret, "TROUPE_RUN_DIR": directory, "TROUPE_WORKERS": str(settings.workers)},
            process_group=None if self._shares_group else 0,
        )
        self._kill_at = math.inf
        self._terminate_at, self._why = math.inf, ""
        if settings.timeout is not None:
            self._terminate_at = time.monotonic() + settings.timeout
            self._why = f"the script has not ended within {settings.timeout:g} s (--timeout)"

    def run(self) -> int:
        while (status := self._driver.poll()) is None:
            self._report()
            now = time.monotonic()
            if now >= self._terminate_at:
                _say(f"{self._why}; it gets SIGTERM")
                self._pass_on(signal.SIGTERM)
            if now >= self._kill_at:
                _say(f"the script has not ended {self._waits.driver_ends:g} s after SIGTERM; it is killed")
                self._driver.kill()
                self._kill_at = math.inf
            if not self._workers and (address := self._address()):
                self._start_workers(address)
            self._wait(min(self._terminate_at, self._kill_at, math.inf if self._workers else now + _POLL_S))
        self._report()  # one that failed first, and is why
        self._end_workers()
        return 128 - status if status < 0 else status

    def _start(self, command: Sequence[str], environment: dict[str, str], **options: Any) -> subprocess.Popen[bytes]:
        """A child that does not outlive the launcher, even a killed one.

        The kernel then kills it, driver and workers alike. SIGTERM would leave a driver that handles it time to clean
        up, but no devices: its workers are gone; and one that ignores it, or hangs, would stay for ever.
        """
        launcher, mask = os.getpid(), self._mask

        def bind() -> None:
            _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
            if os.getppid() != launcher:  # it died before the call
                os.kill(os.getpid(), signal.SIGKILL)
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)

        return subprocess.Popen(
            [sys.executable, *command], env={**os.environ, **environment}, preexec_fn=bind, **options
        )

    def _address(self) -> str | None:
        """Where the driver listens, once it does."""
        try:
            with open(self._ready, encoding="utf-8") as file:
                return json.load(file)["address"]
        except FileNotFoundError:
            return None

    def _start_workers(self, address: str) -> None:
        command = [*self._worker, "--join", address, "--devices", self._settings.devices]
        environment = {**self._secret, "PYTHONUNBUFFERED": "1"}
        for number in range(self._settings.workers):
            # A session of its own: Ctrl-C is for the driver, which then tells its workers what to do.
            process = self._start(
                command,
                environment,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                start_new_session=True,
            )
            self._workers.append(Worker(f"worker {number}", process))
        # Not before: a fork of a process with threads copies locks that nobody in the copy will release.
        self._output = threading.Thread(target=_forward, args=(self._workers,), daemon=True)
        self._output.start()

    def _report(self) -> None:
        """Says which workers failed since it was called last. The driver raises its own error, or is made to end."""
        for worker in self._workers:
            status = worker.process.poll()
            if not status or worker.name in self._failed:
                continue
            self._failed.add(worker.name)
            _say(f"{worker.name} (pid {worker.process.pid}) {_ended(status)}")
            late = time.monotonic() + self._waits.driver_notices
            if late < self._terminate_at and self._kill_at == math.inf:
                self._terminate_at = late
                self._why = f"the script has not ended {self._waits.driver_notices:g} s after {worker.name} did"

    def _report_killed(self) -> None:
        """Says which workers were killed, while none has got a signal from here: perhaps why the driver ended."""
        for worker in self._workers:
            status = worker.process.poll()
            if status is not None and status < 0 and worker.name not in self._failed:
                self._failed.add(worker.name)
                _say(f"{worker.name} (pid {worker.process.pid}) {_ended(status)}")

    def _pass_on(self, number: int) -> None:
        """Sends the driver a signal; after SIGTERM it must end."""
        self._driver.send_signal(number)
        if number == signal.SIGTERM:
            self._terminate_at = math.inf
            self._kill_at = min(self._kill_at, time.monotonic() + self._waits.driver_ends)

    def _wait(self, until: float) -> None:
        """Waits for a signal, which is passed on, for a child's end, or until then."""
        seconds = min(max(0.0, until - time.monotonic()), 60.0)  # the call has an upper limit
        arrived = signal.sigtimedwait(self._signals, seconds)
        if arrived is None or arrived.si_signo == signal.SIGCHLD:
            return
        from_terminal = arrived.si_code > 0  # sent by the kernel: to the whole foreground group
        if not (from_terminal and self._shares_group):
            self._pass_on(arrived.si_signo)

    def _end_workers(self) -> None:
        """Lets them end by themselves, as their connection to the driver has closed; then helps."""
        for number in (None, signal.SIGTERM, signal.SIGKILL):
            running = [worker.process for worker in self._workers if worker.process.poll() is None]
            for process in running:
                if number is not None:
                    process.send_signal(number)
            until = time.monotonic() + self._waits.worker_ends
            while any(process.poll() is None for process in running) and time.monotonic() < until:
                signal.sigtimedwait(self._signals, max(0.0, until - time.monotonic()))
            if number is None:
                self._report_killed()
        if self._output is not None:
            self._output.join(self._waits.worker_ends)


def _forward(workers: Sequence[Worker]) -> None:
    """Copies what workers write to our own stdout and stderr, whole lines at a time, until all have closed theirs."""
    with selectors.DefaultSelector() as pipes:
        for worker in workers:
            prefix = f"[{worker.name}] ".encode()
            for pipe, to in ((worker.process.stdout, 1), (worker.process.stderr, 2)):
                pipes.register(pipe, selectors.EVENT_READ, _Lines(prefix, to))
        while pipes.get_map():
            for key, _ in pipes.select():
                read = os.read(key.fd, 1 << 16)
                key.data.add(read)
                if not read:
                    pipes.unregister(key.fileobj)


class _Lines:
    """Writes lines with a prefix to a file descriptor."""

    def __init__(self, prefix: bytes, to: int) -> None:
        self._prefix, self._to = prefix, to
        self._begun = b""

    def add(self, read: bytes) -> None:
        """What was read; nothing at the end, when the line that was begun is written as it is."""
        *lines, self._begun = (self._begun + read).split(b"\n")
        if not read and self._begun:
            lines.append(self._begun)
        text = b"".join(self._prefix + line + b"\n" for line in lines)
        try:
            while text:
                text = text[os.write(self._to, text) :]
        except OSError:
            pass  # nobody reads our output any more; the worker goes on


def _has_terminal() -> bool:
    """Whether this process has a controlling terminal."""
    try:
        os.close(os.open("/dev/tty", os.O_RDWR | os.O_NOCTTY))
    except OSError:
        return False
    return True


def _ended(status: int) -> str:
    """What a return code of subprocess says, in words."""
    if status >= 0:
        return f"ended with exit status {status}"
    names = {s.value: f" ({s.name})" for s in signal.Signals}
    return f"was killed by signal {-status}{names.get(-status, '')}"


def _say(text: str) -> None:
    print(f"troupe launch: {text}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(run(Settings(**json.loads(sys.argv[1]))))
