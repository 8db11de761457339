"""`troupe launch` over hosts, with a stand-in for ssh; hosts_test.py has real hosts."""

import os
import re
import shlex
import signal
import subprocess
import sys

import pytest
from launched import DEADLINE_S, assert_all_end

from troupe import launcher
from troupe.launcher.settings import Host, Settings
from troupe.launcher.starts import starts

NODE1, NODE2 = Host("node1", "cpu=4"), Host("node2", "cpu=2", "ada", 2222)


def test_the_command_for_a_host(monkeypatch, tmp_path):
    (tmp_path / "a folder").mkdir()
    monkeypatch.chdir(tmp_path / "a folder")
    settings = Settings(0, "cpu=1", None, ["train.py"], [NODE1, NODE2], ["ssh", "-F", "conf"], "/opt/my python")
    first, second = starts(settings, ["-m", "troupe", "worker"], "10.0.0.1:4000")
    assert (first.name, first.hosts, first.command[:4]) == ("node1", ("node1",), ["ssh", "-F", "conf", "-T"])
    assert "BatchMode=yes" in first.command and "-p" not in first.command and "-l" not in first.command
    *options, end, host, line = second.command
    assert options[-4:] == ["-p", "2222", "-l", "ada"] and (end, host) == ("--", "node2")
    worker = "-m troupe worker --join 10.0.0.1:4000 --rank 1 --devices cpu=2 --host node2 --token-stdin"
    assert shlex.split(line) == ["cd", str(tmp_path / "a folder"), "&&", "exec", "/opt/my python", *worker.split()]


def test_each_host_has_a_worker_which_gets_the_token_unseen(start):
    script = """
    workers = sorted(wait_for_workers(), key=lambda w: w.devices)
    print(os.environ["TROUPE_LISTEN"], [w.devices for w in workers])
    print({w.token for w in workers} == {os.environ["TROUPE_TOKEN"]})
    shown = [open(f"/proc/{name}/cmdline").read() for name in os.listdir("/proc") if name.isdigit()]
    print(any("--host\\0node2" in line for line in shown), any(workers[0].token in line for line in shown), flush=True)
    for w in workers:
        w.do("print(options['--host'], os.getcwd()); print('wrong', file=sys.stderr)")
    """
    launched = start(script, hosts=[NODE1, NODE2], listen="10.0.0.1:4000")
    status, out, error = launched.wait()
    assert status == 0, error
    lines = out.splitlines()
    assert lines[:3] == ["10.0.0.1:4000 ['cpu=2', 'cpu=4']", "True", "True False"]
    assert sorted(lines[3:]) == [f"[{name}] {name} {launched.folder}" for name in ("node1", "node2")]
    assert sorted(error.splitlines()) == ["[node1] wrong", "[node2] wrong"]


@pytest.mark.parametrize(
    ("wrong", "why", "exit_status"),
    [
        ("refuses", "ssh: connect to host refuses port 22: Connection refused", 255),
        ("empty", ".*/nowhere/at/all.*", "[12]"),
        ("silent", "it said nothing", 0),
    ],
)
@pytest.mark.parametrize("handled", [False, True])
def test_a_host_without_a_worker_is_named_and_all_ends(start, wrong, why, exit_status, handled):
    script = "signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))\n" if handled else ""
    script += "print(os.getpid(), flush=True); wait_for_workers()"
    status, out, error = start(script, hosts=[NODE1, Host(wrong, "cpu=1")]).wait()
    assert status == (1 if handled else 128 + signal.SIGTERM)
    says = [line for line in error.splitlines() if line.startswith("troupe launch: ")]
    tried = rf"`{re.escape(sys.executable)} \S+ssh.py -T -o BatchMode=yes .* -- {wrong} .*`"
    ended = rf"\({tried} ended with exit status {exit_status}\)"
    assert re.fullmatch(rf"troupe launch: {wrong}: no worker was started: {why} {ended}", says[0]), error
    assert says[1:] == [f"troupe launch: the script cannot have its worker on {wrong}; it gets SIGTERM"]


def test_a_host_that_says_nothing_is_given_up(start):
    status, out, error = start("wait_for_workers()", hosts=[NODE1, Host("hangs", "cpu=1")], worker_starts=1.0).wait()
    assert (status, out) == (128 + signal.SIGTERM, "[hangs] the shell of this host begins\n")
    says = error.splitlines()
    late = r"troupe launch: hangs: no worker has started within 1 s: it said nothing \(tried `.* -- hangs .*`\)"
    assert re.fullmatch(late, says[0])
    assert says[1:] == ["troupe launch: the script cannot have its worker on hangs; it gets SIGTERM"]


@pytest.mark.parametrize(
    ("code", "says"),
    [
        ("os._exit(3)", r"node1: its worker ended with exit status 3"),
        ("os.kill(os.getpid(), signal.SIGKILL)", r"node1: its worker was killed by signal 9 \(SIGKILL\)"),
        (
            "os.kill(os.getppid(), signal.SIGKILL)",
            r"node1: the connection to its worker broke: the last \(\S+ was killed by signal 9 \(SIGKILL\)\)",
        ),
    ],
)
def test_a_worker_that_fails_on_a_host_is_reported(start, code, says):
    script = f"""
    worker, = wait_for_workers()
    worker.do("print('the last', file=sys.stderr)")
    worker.tell({code!r})
    worker.lines.readline()  # nothing: the connection has closed
    time.sleep(1)
    sys.exit(8)
    """
    status, _, error = start(script, hosts=[NODE1]).wait()
    assert status == 8 and re.fullmatch(rf"\[node1\] the last\ntroupe launch: {says}\n", error), error


@pytest.mark.parametrize("code", ["pass", "signal.raise_signal(signal.SIGSTOP)"])
def test_a_killed_launcher_leaves_no_worker(start, code):
    script = f"""
    for worker in wait_for_workers():
        worker.tell({code!r})
    print("ready", flush=True)
    time.sleep(99)
    """
    launched = start(script, hosts=[NODE1, NODE2])
    launched.heard("ready")
    launched.process.kill()
    launched.wait()
    assert_all_end(launched.pids())


def supervised(code: str) -> subprocess.Popen:
    folder = os.path.dirname(launcher.__file__)
    command = [sys.executable, "-I", "-S", folder, "supervise", "-c", f"import os, signal; {code}"]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def test_a_worker_ends_with_the_stdin_of_its_supervisor():
    process = supervised("print(os.environ['TROUPE_TOKEN'], os.getpid()); os.kill(os.getpid(), signal.SIGSTOP)")
    process.stdin.write("secret\nmore\n")
    process.stdin.flush()
    assert process.stdout.readline() == "troupe worker: started\n"
    token, pid = process.stdout.readline().split()
    assert token == "secret" and process.poll() is None
    process.communicate(timeout=DEADLINE_S)  # closes its stdin
    assert process.returncode == 128 + signal.SIGKILL
    assert_all_end([int(pid)])


def test_a_supervisor_without_a_token_says_so():
    process = supervised("print('it runs')")
    out, error = process.communicate(timeout=DEADLINE_S)
    assert (process.returncode, out) == (2, "troupe worker: started\n")
    assert error == "troupe worker: the token of the run did not come on stdin (--token-stdin)\n"


def test_a_worker_may_read_its_token_from_stdin():
    command = [sys.executable, "-m", "troupe", "worker", "--join", "nowhere", "--host", "node1", "--token-stdin"]
    ended = subprocess.run(command, input="secret\n", capture_output=True, text=True, timeout=DEADLINE_S)
    assert ended.stdout == "troupe worker: started\n"
    assert (ended.returncode, ended.stderr) in (
        (1, "troupe: 'nowhere' is no address of a driver; it is HOST:PORT, as in 127.0.0.1:41234\n"),
        (128 + signal.SIGKILL, ""),  # stdin has ended before
    )
