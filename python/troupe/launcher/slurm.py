"""The nodes of an allocation of Slurm, as its environment and its controller tell."""

from __future__ import annotations

import os
import re
import shutil
import subprocess

from .settings import Host


def nodes(devices: str | None) -> tuple[list[Host], dict[str, str]]:
    """The nodes of the allocation that this process is in, in the order of srun's tasks, and by what address each is
    reached. A node offers `devices`, or a CPU device for each CPU that the job asked for on it: tasks on the node times
    CPUs per task. ValueError says what is missing."""
    listed = os.environ.get("SLURM_JOB_NODELIST")
    if not listed:
        raise ValueError(
            "--slurm: this is not inside an allocation of Slurm (SLURM_JOB_NODELIST is not set); run it in a script "
            "given to sbatch, or under salloc"
        )
    if (tasks := os.environ.get("SLURM_STEP_NUM_TASKS", "1")) != "1":
        raise ValueError(
            f"--slurm: srun runs this command {tasks} times (SLURM_STEP_NUM_TASKS); run it once, without srun: it starts "
            "the workers itself"
        )
    for program in ("srun", "scontrol"):
        if shutil.which(program) is None:
            raise ValueError(f"--slurm: there is no {program} on PATH; Slurm's client commands must be on this host")
    addresses = _addresses(listed)
    offered = [devices] * len(addresses) if devices else [f"cpu={count}" for count in _asked(len(addresses))]
    return [Host(name, offer) for name, offer in zip(addresses, offered, strict=True)], addresses


def _addresses(listed: str) -> dict[str, str]:
    command = ["scontrol", "--oneliner", "show", "node", listed]
    shown = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True)
    found = dict(re.findall(r"^NodeName=(\S+) .*?\bNodeAddr=(\S+)", shown.stdout, re.MULTILINE))
    if shown.returncode != 0 or not found:
        said = (shown.stderr.strip() or shown.stdout.strip() or "it said nothing").splitlines()[-1]
        raise ValueError(f"--slurm: `{' '.join(command)}` does not show the nodes of the allocation: {said}")
    return found


def _asked(count: int) -> list[int]:
    """The CPUs that the job asked for on each of so many nodes."""
    text, each = os.environ.get("SLURM_TASKS_PER_NODE", ""), os.environ.get("SLURM_CPUS_PER_TASK", "1")
    tasks: list[int] = []
    for part in text.split(","):  # "4(x2),1" is 4, 4, 1
        if found := re.fullmatch(r"(\d+)(?:\(x(\d+)\))?", part):
            tasks += [int(found[1])] * int(found[2] or 1)
    if len(tasks) != count or 0 in tasks or not each.isdecimal() or int(each) < 1:
        raise ValueError(
            f"--slurm: SLURM_TASKS_PER_NODE='{text}' and SLURM_CPUS_PER_TASK='{each}' do not tell what the job asked "
            f"for on its {count} nodes; say with --devices cpu=COUNT how many devices each offers"
        )
    return [number * int(each) for number in tasks]
