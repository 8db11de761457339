"""What `troupe launch --slurm` reads from its environment and starts, with stand-ins for Slurm's commands; slurm_test.py
has a real Slurm."""

import argparse
import os
import re
import shlex
import signal
import sys

import pytest

from troupe import launch
from troupe.launcher.settings import Host, Settings
from troupe.launcher.starts import starts

NODES = [Host("n1", "cpu=4"), Host("n2", "cpu=2")]

SCONTROL = """
case "$*" in
"--oneliner show node n[1-2]")
    echo "NodeName=n1 Arch=x86_64 NodeAddr=127.0.0.1 NodeHostName=n1 Port=6818"
    echo "NodeName=n2 Arch=x86_64 NodeAddr=127.0.0.2 NodeHostName=n2 Port=6818" ;;
*)
    echo "Node gone not found" >&2
    exit 1 ;;
esac
"""

# Runs a task for each node on this host, and labels what it writes; the task of n2 does what $N2 says first.
SRUN = """
import os, subprocess, sys, threading
at = sys.argv.index("sh")
tasks = []
for number in range(len(sys.argv) - at - 4):
    line = (os.environ.get("N2", "") + "\\n" if number else "") + sys.argv[at + 2]
    names = {"SLURM_PROCID": str(number), "SLURMD_NODENAME": f"n{number + 1}"}
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
    tasks.append(subprocess.Popen(["sh", "-c", line, *sys.argv[at + 3 :]], env={**os.environ, **names}, **pipes))
def copy(number, task):
    for text in task.stdout:
        os.write(1, b"%d: " % number + text)
threads = [threading.Thread(target=copy, args=each) for each in enumerate(tasks)]
for thread in threads:
    thread.start()
while read := os.read(0, 4096):
    for task in tasks:
        task.stdin.write(read)
        task.stdin.flush()
"""


@pytest.fixture
def job(tmp_path, monkeypatch):
    """Sets the environment of a job with two nodes, and gives a function that sets what is different."""
    for name in [name for name in os.environ if name.startswith("SLURM")]:
        monkeypatch.delenv(name)
    programs = tmp_path / "programs"
    programs.mkdir()
    for name, text in {"scontrol": f"#!/bin/sh\n{SCONTROL}", "srun": f"#!{sys.executable}\n{SRUN}"}.items():
        (programs / name).write_text(text)
        (programs / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{programs}:/usr/bin:/bin")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "train.py").touch()

    def change(text: str) -> None:
        for name, value in (word.split("=", 1) for word in text.split()):
            monkeypatch.setenv(name, value) if value else monkeypatch.delenv(name)

    change("SLURM_JOB_NODELIST=n[1-2] SLURM_TASKS_PER_NODE=4,2")
    return change


def parsed(text: str) -> Settings:
    parser = argparse.ArgumentParser()
    launch.add_arguments(parser)
    return launch.settings_of(parser.parse_args(["--slurm", *text.split(), "train.py"]))


def test_the_arguments_for_slurm(job):
    settings = parsed("")
    assert settings == Settings(0, "cpu=1", None, ["train.py"], NODES, [], listen="127.0.0.1", slurm=True)
    assert Settings.of_json(settings.as_json()) == settings
    settings = parsed("--listen 10.0.0.1:4000 --python /opt/python --devices cpu=8")
    hosts = [Host("n1", "cpu=8"), Host("n2", "cpu=8")]
    expected = Settings(0, "cpu=8", None, ["train.py"], hosts, [], "/opt/python", "10.0.0.1:4000", slurm=True)
    assert settings == expected


@pytest.mark.parametrize(
    ("environment", "devices"),
    [
        ("SLURM_TASKS_PER_NODE=3(x2)", ["cpu=3", "cpu=3"]),
        ("SLURM_TASKS_PER_NODE=1(x2) SLURM_CPUS_PER_TASK=8", ["cpu=8", "cpu=8"]),
        ("SLURM_TASKS_PER_NODE=2,1 SLURM_CPUS_PER_TASK=3", ["cpu=6", "cpu=3"]),
    ],
)
def test_a_node_offers_what_the_job_asked_for(job, environment, devices):
    job(environment)
    assert [host.devices for host in parsed("").hosts] == devices


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ("SLURM_JOB_NODELIST=", "--slurm: this is not inside an allocation of Slurm (SLURM_JOB_NODELIST is not set)"),
        ("SLURM_STEP_NUM_TASKS=2", "--slurm: srun runs this command 2 times (SLURM_STEP_NUM_TASKS); run it once"),
        ("PATH=/no/programs", "--slurm: there is no srun on PATH"),
        ("SLURM_JOB_NODELIST=gone", "`scontrol --oneliner show node gone` does not show the nodes of the allocation: "),
        ("SLURM_TASKS_PER_NODE=2", "SLURM_TASKS_PER_NODE='2' and SLURM_CPUS_PER_TASK='1' do not tell what the job"),
        ("SLURM_TASKS_PER_NODE=", "SLURM_TASKS_PER_NODE='' and SLURM_CPUS_PER_TASK='1' do not tell what the job"),
        ("SLURM_CPUS_PER_TASK=0", "say with --devices cpu=COUNT how many devices each offers"),
    ],
)
def test_a_wrong_environment_is_said(job, environment, expected):
    job(environment)
    with pytest.raises(ValueError, match=re.escape(expected)):
        parsed("")


def test_the_command_for_all_nodes(tmp_path):
    settings = Settings(0, "cpu=1", None, ["train.py"], NODES, python="/opt/my python", slurm=True)
    (only,) = starts(settings, ["-m", "troupe", "worker"], "10.0.0.1:4000")
    assert (only.name, only.hosts, only.labelled) == ("srun", ("n1", "n2"), True)
    program, *options, shell, run, line, name, first, second = only.command
    assert options[:3] == ["--nodes=2", "--ntasks=2", "--ntasks-per-node=1"]
    assert (program, shell, run, name, first, second) == ("srun", "sh", "-c", "sh", "cpu=4", "cpu=2")
    worker = "-m troupe worker --join 10.0.0.1:4000 --rank $SLURM_PROCID --devices $1 --host $SLURMD_NODENAME --token-stdin"
    assert shlex.split(line)[2:] == ["exec", "/opt/my python", *worker.split()]


@pytest.mark.parametrize("identity", [None, "a certificate\nand a key\n"])
def test_each_node_has_a_worker_which_gets_the_secrets_unseen(job, start, identity):
    script = """
    workers = sorted(wait_for_workers(), key=lambda w: w.devices)
    print([w.devices for w in workers], {w.token for w in workers} == {os.environ["TROUPE_TOKEN"]})
    shown = [open(f"/proc/{name}/cmdline").read() for name in os.listdir("/proc") if name.isdigit()]
    print(any("--host\\0n2" in line for line in shown), any(workers[0].token in line for line in shown), flush=True)
    for w in workers:
        w.do("print(options['--host'], os.getcwd(), facts['identity'])")
    """
    launched = start(script, hosts=NODES, slurm=True, identity=identity)
    status, out, error = launched.wait()
    assert (status, error) == (0, "")
    lines = out.splitlines()
    assert lines[:2] == ["['cpu=2', 'cpu=4'] True", "True False"]
    told = [] if identity is None else [identity] * 2
    assert sorted(lines[2:]) == [f"[{name}] {name} {launched.folder} {told}" for name in ("n1", "n2")]


def test_a_node_that_does_not_come_up_is_named_and_all_ends(job, start):
    job("N2=sleep${IFS}99")
    launched = start("wait_for_workers()", hosts=NODES, slurm=True, worker_starts=5.0)
    status, _, error = launched.wait()
    assert status == 128 + signal.SIGTERM
    late = r"troupe launch: n2: no worker has started within 5 s: it said nothing \(tried `srun .*`\)"
    first, second = error.splitlines()
    assert re.fullmatch(late, first), error
    assert second == "troupe launch: the script cannot have its worker on n2; it gets SIGTERM"
