"""`troupe launch`, from outside."""

import argparse
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from launched import DEADLINE_S, Launched, assert_all_end, runs

from troupe import launch
from troupe.__main__ import main
from troupe.launcher.settings import Settings


def test_workers_join_and_their_lines_have_a_prefix(start):
    script = """
    workers = wait_for_workers()
    folder = os.environ["TROUPE_RUN_DIR"]
    print("mode %o" % (os.stat(folder).st_mode & 0o777), folder, os.environ["TROUPE_TOKEN"])
    print({(w.token == os.environ["TROUPE_TOKEN"], w.devices) for w in workers})
    lines = []
    for name in filter(str.isdigit, os.listdir("/proc")):
        try:
            lines.append(open(f"/proc/{name}/cmdline").read())
        except OSError:
            pass  # it has ended
    print(sum("worker.py" in line for line in lines), any(workers[0].token in line for line in lines), flush=True)
    for w in workers:
        w.do("print('one'); print('two', file=sys.stderr); sys.stdout.write('begun')")
    print("the driver has none", flush=True)
    """
    status, out, error = start(script, workers=3, devices="cpu=4").wait()
    first, *rest = out.splitlines()
    mode, folder = re.fullmatch(r"mode (\d+) (\S+) [0-9a-f]{64}", first).groups()
    assert status == 0 and mode == "700" and not os.path.exists(folder)
    assert rest[0] == "{(True, 'cpu=4')}"
    assert int(rest[1].split()[0]) >= 3 and rest[1].split()[1] == "False"
    assert sorted(rest[2:]) == sorted(
        [f"[worker {n}] {text}" for n in range(3) for text in ("begun", "one")] + ["the driver has none"]
    )
    assert sorted(error.splitlines()) == [f"[worker {n}] two" for n in range(3)]


@pytest.mark.parametrize(
    ("how", "command"),
    [
        ("-n 2 train.py -n 7", "train.py -n 7"),
        ("--nproc-per-node 2 -- train.py --devices x -- y", "train.py --devices x -- y"),
        ("-n 2 -m train -m 7", "-m train -m 7"),
        ("-n 2 -- -m train --help", "-m train --help"),
    ],
)
def test_scripts_and_modules(tmp_path, monkeypatch, how, command):
    monkeypatch.chdir(tmp_path)
    Path("train.py").touch()
    parser = argparse.ArgumentParser()
    launch.add_arguments(parser)
    assert launch.settings_of(parser.parse_args(how.split())) == Settings(2, "cpu=1", None, command.split())


@pytest.mark.parametrize("how", [["train.py"], ["--", "-m", "train"]])
def test_the_command_starts_the_launcher(tmp_path, how):
    (tmp_path / "train.py").write_text("import sys; print(input(), sys.argv[1:]); sys.exit(int(sys.argv[2]))")
    command = [sys.executable, "-m", "troupe", "launch", "-n", "2", *how, "-n", "7", "--", "x"]
    ended = subprocess.run(command, cwd=tmp_path, input="typed\n", capture_output=True, text=True, timeout=DEADLINE_S)
    assert (ended.returncode, ended.stdout, ended.stderr) == (7, "typed ['-n', '7', '--', 'x']\n", "")


@pytest.mark.parametrize(
    ("wrong", "expected"),
    [
        ("-n 2", "no command: give a script, or -m and a module, after the options"),
        ("-n 2 --", "no command: give a script, or -m and a module, after the options"),
        ("-n 2 -m", "no command: give a script, or -m and a module, after the options"),
        ("-n 2 missing.py -x", "there is no script 'missing.py'"),
        ("-n 0 FILE", "-n is 0; at least 1 worker is needed"),
        ("--nproc-per-node -1 FILE", "-n is -1; at least 1 worker is needed"),
        ("-n 2 --devices cpu FILE", "--devices 'cpu' is not KIND=COUNT, as in cpu=4"),
        ("-n 2 --devices cpu=0 FILE", "--devices 'cpu=0' is not KIND=COUNT, as in cpu=4"),
        ("-n 2 --devices =2 FILE", "--devices '=2' is not KIND=COUNT, as in cpu=4"),
        ("-n 2 --devices cuda=2 FILE", "--devices 'cuda=2': workers offer CPU devices only; give cpu=COUNT"),
        ("-n 2 --timeout 0 FILE", "--timeout is 0; it must be a number of seconds above 0"),
        ("-n 2 --timeout nan FILE", "--timeout is nan; it must be a number of seconds above 0"),
    ],
)
def test_wrong_arguments_give_one_line(capsys, wrong, expected):
    assert main(["launch", *wrong.replace("FILE", __file__).split()]) == 2
    assert capsys.readouterr().err == f"troupe launch: {expected}\n"


def test_a_killed_driver_ends_its_workers(start):
    script = """
    quick, slow, stubborn = wait_for_workers()
    quick.do("import atexit; atexit.register(lambda: (time.sleep(0.1), print('ended by itself')))")
    slow.do("signal.signal(signal.SIGTERM, lambda *_: (print('told to end'), os._exit(0)))")
    stubborn.do("signal.signal(signal.SIGTERM, signal.SIG_IGN)")
    for worker in (slow, stubborn):
        worker.tell("time.sleep(99)")
    os.kill(os.getpid(), signal.SIGKILL)
    """
    launched = start(script, workers=3)
    status, out, _ = launched.wait()
    assert status == 128 + signal.SIGKILL
    assert [line.partition("] ")[2] for line in out.splitlines()] == ["ended by itself", "told to end"]
    assert not any(runs(pid) for pid in launched.pids())


def test_a_killed_launcher_leaves_no_process(start):
    script = """
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    for worker in wait_for_workers():
        worker.tell("time.sleep(99)")
    print("ready", flush=True)
    time.sleep(99)
    """
    launched = start(script)
    launched.heard("ready")
    launched.process.kill()
    launched.wait()
    assert_all_end(launched.pids())


INTERRUPTED = """
interrupts = []
signal.signal(signal.SIGINT, lambda *_: interrupts.append(1))
workers = wait_for_workers()
for number in (1, 2):
    print("ready", flush=True)
    while len(interrupts) < number:
        time.sleep(0.01)
    time.sleep(0.2)
print(len(interrupts), all(w.do("pass") for w in workers))
sys.exit(5)
"""


def interrupt_twice(launched: Launched, interrupt: Callable[[], object]) -> None:
    for _ in range(2):
        launched.heard("ready")
        # The driver has dealt with what it gets by itself before the launcher could send it another.
        launched.process.send_signal(signal.SIGSTOP)
        interrupt()
        time.sleep(0.05)
        launched.process.send_signal(signal.SIGCONT)
    assert launched.wait() == (5, "2 True\n", "")


@pytest.mark.parametrize("send", [os.kill, os.killpg])
def test_an_interrupt_reaches_the_driver_once(start, send):
    launched = start(INTERRUPTED)
    interrupt_twice(launched, lambda: send(launched.process.pid, signal.SIGINT))


def test_ctrl_c_at_a_terminal_reaches_the_driver_once_and_no_worker(start):
    keyboard, terminal = os.openpty()
    with open(keyboard, "wb", buffering=0) as keys, open(terminal, "rb", buffering=0):
        interrupt_twice(start(INTERRUPTED, terminal=terminal), lambda: keys.write(b"\x03"))


def test_an_interrupted_driver_gives_its_status(start):
    launched = start("print('ready', flush=True); time.sleep(99)")
    launched.heard("ready")
    launched.process.send_signal(signal.SIGINT)
    status, _, error = launched.wait()
    assert status == 128 + signal.SIGINT and "KeyboardInterrupt" in error


def test_the_driver_may_handle_sigterm(start):
    script = """
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(4))
    wait_for_workers()
    print("ready", flush=True)
    time.sleep(99)
    """
    launched = start(script)
    launched.heard("ready")
    launched.process.terminate()
    assert launched.wait() == (4, "", "")
    assert not any(runs(pid) for pid in launched.pids())


def test_a_driver_that_ignores_sigterm_is_killed(start):
    script = """
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    print("ready", flush=True)
    time.sleep(99)
    """
    launched = start(script, driver_ends=0.2)
    launched.heard("ready")
    launched.process.terminate()
    expected = "troupe launch: the script has not ended 0.2 s after SIGTERM; it is killed\n"
    assert launched.wait() == (128 + signal.SIGKILL, "", expected)


def test_a_hangup_is_passed_on_unless_it_is_ignored(start):
    script = """
    if signal.getsignal(signal.SIGHUP) == signal.SIG_DFL:
        signal.signal(signal.SIGHUP, lambda *_: sys.exit(6))
        print("not ignored", flush=True)
    else:
        print("ignored", flush=True)
    time.sleep(99)
    """
    launched = start(script)
    launched.heard("not ignored")
    launched.process.send_signal(signal.SIGHUP)
    assert launched.wait() == (6, "", "")
    launched = start(script, ignored=[signal.SIGHUP])
    launched.heard("ignored")
    launched.process.send_signal(signal.SIGHUP)
    launched.process.send_signal(signal.SIGTERM)
    assert launched.wait() == (128 + signal.SIGTERM, "", "")


def test_a_script_that_takes_too_long_is_told_to_end(start):
    expected = "troupe launch: the script has not ended within 0.2 s (--timeout); it gets SIGTERM\n"
    assert start("time.sleep(99)", timeout=0.2).wait() == (128 + signal.SIGTERM, "", expected)


@pytest.mark.parametrize(
    ("code", "ending"),
    [
        ("os.kill(os.getpid(), signal.SIGKILL)", "was killed by signal 9 (SIGKILL)"),
        ("os._exit(3)", "ended with exit status 3"),
    ],
)
def test_a_worker_that_fails_is_reported(start, code, ending):
    script = f"""
    workers = wait_for_workers()
    workers[1].tell({code!r})
    workers[1].lines.readline()  # nothing: the connection has closed
    time.sleep({0 if "SIGKILL" in code else 1})  # after a driver's end workers may end as they like
    sys.exit(8)
    """
    launched = start(script)
    status, out, error = launched.wait()
    assert (status, out) == (8, "")
    assert re.fullmatch(rf"troupe launch: worker \d \(pid {launched.pids()[2]}\) {re.escape(ending)}\n", error)


def test_a_driver_that_does_not_notice_is_told_to_end(start):
    script = """
    wait_for_workers()[0].tell("os._exit(3)")
    time.sleep(99)
    """
    status, _, error = start(script, workers=1, driver_notices=0.2).wait()
    assert status == 128 + signal.SIGTERM
    assert error.splitlines()[1:] == [
        "troupe launch: the script has not ended 0.2 s after worker 0 did; it gets SIGTERM"
    ]


def test_the_driver_may_go_on_after_its_workers(start):
    script = """
    for worker in wait_for_workers():
        worker.tell("sys.exit()")
        worker.lines.readline()
    time.sleep(0.3)
    """
    assert start(script, driver_notices=0.1).wait() == (0, "", "")


def test_workers_outlive_the_reader_of_their_lines(start, tmp_path):
    script = """
    workers = wait_for_workers()
    print("ready", flush=True)
    while not os.path.exists(os.path.dirname(__file__) + "/closed"):
        time.sleep(0.01)
    sys.exit(0 if all(w.do("print('x' * 99999 + chr(10) * 99999)") for w in workers) else 1)
    """
    launched = start(script)
    launched.heard("ready")
    launched.process.stdout.close()
    (tmp_path / "closed").touch()
    assert launched.process.wait(timeout=DEADLINE_S) == 0
    assert launched.process.stderr.read() == ""
