"""One run: the driver, its workers, and the signals and the time that end them."""

from __future__ import annotations

import json
import math
import os
import secrets
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Sequence

from . import memory
from .output import forward
from .processes import has_terminal, say, start
from .settings import Settings, Waits
from .starts import starts
from .worker import Worker

_FORWARDED = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_POLL_S = 0.05  # how often driver.json is looked for


def run(settings: Settings, worker: Sequence[str] = ("-P", "-m", "troupe", "worker"), waits: Waits = Waits()) -> int:
    """Runs the driver and its workers; the driver's exit status, 128 + the signal where one killed it, never 0 when a
    worker was not to be had. `worker` is what follows the interpreter, before --join and --devices (-P: nothing in
    the current directory is imported)."""
    with tempfile.TemporaryDirectory(prefix="troupe-", ignore_cleanup_errors=True) as directory:
        return _Run(settings, worker, waits, directory).run()


class _Run:
    """The processes of one run."""

    def __init__(self, settings: Settings, worker: Sequence[str], waits: Waits, directory: str) -> None:
        self._settings, self._worker, self._waits = settings, worker, waits
        self._ready = os.path.join(directory, "driver.json")
        self._token = secrets.token_hex(32)  # in environments and pipes alone: command lines are public
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
        self._shares_group = has_terminal()
        environment = {
            "TROUPE_RUN_DIR": directory,
            "TROUPE_WORKERS": str(len(settings.hosts) or settings.workers),
            "TROUPE_TOKEN": self._token,
        }
        self._identity = None
        if settings.tls is not None:
            os.set_inheritable(settings.tls, False)
            self._identity = memory.text_of(settings.tls)
            environment |= dict.fromkeys(("TROUPE_TLS_CERT", "TROUPE_TLS_KEY"), memory.path_of(settings.tls))
        if settings.listen is not None:
            environment["TROUPE_LISTEN"] = settings.listen
        self._driver = start(
            [sys.executable, *settings.command],
            environment,
            self._mask,
            process_group=None if self._shares_group else 0,
        )
        self._start_by, self._starved = math.inf, False
        self._kill_at = math.inf
        self._terminate_at, self._why = math.inf, ""
        if settings.timeout is not None:
            self._terminate_at = time.monotonic() + settings.timeout
            self._why = f"the script has not ended within {settings.timeout:g} s (--timeout)"

    def run(self) -> int:
        while (status := self._driver.poll()) is None:
            self._report()
            now = time.monotonic()
            if now >= self._start_by:
                self._report_missing()
            if now >= self._terminate_at:
                say(f"{self._why}; it gets SIGTERM")
                self._pass_on(signal.SIGTERM)
            if now >= self._kill_at:
                say(f"the script has not ended {self._waits.driver_ends:g} s after SIGTERM; it is killed")
                self._driver.kill()
                self._kill_at = math.inf
            if not self._workers and (address := self._address()):
                self._start_workers(address)
            look = math.inf if self._workers else now + _POLL_S
            self._wait(min(self._start_by, self._terminate_at, self._kill_at, look))
        self._report()  # one that failed first, and is why
        self._end_workers()
        status = 128 - status if status < 0 else status
        return status or int(self._starved)

    def _address(self) -> str | None:
        """Where the driver listens, once it does."""
        try:
            with open(self._ready, encoding="utf-8") as file:
                return json.load(file)["address"]
        except FileNotFoundError:
            return None

    def _start_workers(self, address: str) -> None:
        for how in starts(self._settings, self._worker, address):
            self._workers.append(Worker(how, self._token, self._identity, self._mask))
        self._start_by = time.monotonic() + self._waits.worker_starts
        # Not before: a fork of a process with threads copies locks that nobody in the copy will release.
        outputs = [worker.output for worker in self._workers]
        self._output = threading.Thread(target=forward, args=(outputs,), daemon=True)
        self._output.start()

    def _report(self) -> None:
        """Says which workers failed since it was called last. The driver raises its own error, or is made to end."""
        for worker in self._workers:
            if worker.name in self._failed or (failure := worker.failure()) is None:
                continue
            self._failed.add(worker.name)
            say(failure)
            if worker.missing:
                self._starve(worker)
            else:
                seconds = self._waits.driver_notices
                why = f"the script has not ended {seconds:g} s after {worker.name} did"
                self._terminate_by(time.monotonic() + seconds, why)

    def _report_missing(self) -> None:
        """Says which workers have not started in time, and makes the driver end."""
        self._start_by = math.inf
        for worker in self._workers:
            if worker.missing and worker.name not in self._failed:
                self._failed.add(worker.name)
                say(worker.late(self._waits.worker_starts))
                self._starve(worker)

    def _starve(self, worker: Worker) -> None:
        """Makes the driver end, which will not get this worker; it then cannot have ended well."""
        self._starved = True
        self._terminate_by(time.monotonic(), f"the script cannot have its worker on {worker.missing}")

    def _report_killed(self) -> None:
        """Says which workers were killed, while none has got a signal from here: perhaps why the driver ended."""
        for worker in self._workers:
            if worker.killed and worker.name not in self._failed:
                self._failed.add(worker.name)
                say(worker.failure() or worker.name)

    def _terminate_by(self, when: float, why: str) -> None:
        """Has the driver get SIGTERM then, unless it gets or got it earlier."""
        if when < self._terminate_at and self._kill_at == math.inf:
            self._terminate_at, self._why = when, why

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
