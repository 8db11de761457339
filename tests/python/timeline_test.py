"""The timeline of traced steps: what the file holds, in one process and over workers, and that it changes nothing."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections import defaultdict
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from conftest import ROOT, examples, make_step

import troupe as tr

# Trains a small GPT and writes a timeline of its steps 3 and 4, the losses and the plan.
SCRIPT = """
import json, sys
from pathlib import Path
sys.path[:0] = ["tests/python", "models/gpt", "."]
import numpy as np
import runs
import troupe as tr
from model import GPT

step = runs.make_step(GPT(64, 2, 32, 4, 16), {"dp": 2, "tp": 2}, tr.recipes.parse("zero3+megatron"), batch_shards=4)
random = np.random.default_rng(0)
ids = random.integers(0, 64, (64, 17)).astype(np.int32)
data = tr.data.arrays(x=ids[:, :-1], y=ids[:, 1:], batch=16)
folder = Path(sys.argv[1])
if sys.argv[2:] == ["traced"]:
    step.trace(folder / "deep" / "trace.json", steps=range(3, 5))
losses = [m.loss for m in tr.train(step, data, steps=7)]
plan = step.plan(data)
received = sum(size for *_, size in plan.traffic)
(folder / "run.json").write_text(json.dumps({"losses": losses, "plan": plan.text(), "received": received}))
"""
STEPS = (3, 4)


def run(folder: Path, *traced: str, launch: tuple[str, ...] = ()) -> dict:
    folder.mkdir()
    (folder / "script.py").write_text(SCRIPT)
    command = [sys.executable, "-m", "troupe", "launch", *launch, "--"] if launch else [sys.executable]
    ended = subprocess.run(
        [*command, str(folder / "script.py"), str(folder), *traced],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    return json.loads((folder / "run.json").read_text())


def planned(text: str) -> dict[str, list[str]]:
    """By stream: the tasks of a step, in their order."""
    order = {}
    for name, segments in re.findall(r"^ +\d+ (.+?), device \d+(?:, runs ahead)?: (.+)$", text, re.MULTILINE):
        tasks = order[name] = []
        for repeat, listed in re.findall(r"(\d+) x \((.*?)\)(?:, |$)", segments):
            tasks += [task.partition(" ")[2] for task in listed.split(", ")] * int(repeat)
    return order


@pytest.fixture(scope="module", params=[(), ("-n", "2", "--devices", "cpu=2")], ids=["one process", "workers"])
def traced(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp("traced")
    about = run(folder / "run", "traced", launch=request.param)
    assert about["losses"] == run(folder / "plain")["losses"]  # tracing changes nothing
    return about, json.loads((folder / "run" / "deep" / "trace.json").read_text()), bool(request.param)


def events(trace: dict, kind: str) -> list[dict]:
    return [event for event in trace["traceEvents"] if event["ph"] == kind]


def names(trace: dict, kind: str) -> dict:
    """What processes, or tracks, are called, by their numbers."""
    found = [event for event in events(trace, "M") if event["name"] == f"{kind}_name"]
    return {(event["pid"], event["tid"])[: 1 + (kind == "thread")]: event["args"]["name"] for event in found}


def test_processes_and_tracks_have_names(traced):
    _, trace, workers = traced
    processes, tracks = names(trace, "process"), names(trace, "thread")
    assert re.fullmatch(r"driver \(\S+, process \d+\)", processes[1,])
    if workers:
        assert [re.sub(r"\(.*", "", processes[number,]) for number in (2, 3)] == ["worker 0 ", "worker 1 "]
    else:
        assert len(processes) == 1
    devices = {name: process for (process, _), name in tracks.items() if name.endswith("compute")}
    assert list(devices) == [f"cpu:{device} compute" for device in range(4)]
    assert list(devices.values()) == ([2, 2, 3, 3] if workers else [1] * 4)
    for event in events(trace, "X"):
        assert (event["pid"], event["tid"]) in tracks


def test_every_firing_of_the_steps_is_there_once_in_the_planned_order(traced):
    about, trace, _ = traced
    tracks = names(trace, "thread")
    fired = defaultdict(lambda: defaultdict(list))
    for event in events(trace, "X"):
        if event["cat"] in ("firing", "transfer"):
            fired[event["args"]["step"]][tracks[event["pid"], event["tid"]]].append(event["name"])
    assert sorted(fired) == list(STEPS)
    order = planned(about["plan"])
    assert sum(map(len, order.values())) > 400
    for step in STEPS:
        assert fired[step] == order
    assert [event["name"] for event in events(trace, "X") if event["cat"] == "step"] == ["step 3", "step 4"]


def test_slices_of_a_track_do_not_overlap_and_times_rise(traced):
    _, trace, _ = traced
    tracks = defaultdict(list)
    timed = [event for event in trace["traceEvents"] if event["ph"] != "M"]
    assert all(before["ts"] <= after["ts"] for before, after in pairwise(timed))
    for event in events(trace, "X"):
        assert event["ts"] >= 0 and event["dur"] >= 0
        tracks[event["pid"], event["tid"]].append((round(event["ts"] * 1000), round(event["dur"] * 1000)))
    assert len(tracks) == 1 + 4 * 2
    for slices in tracks.values():
        assert all(begin + duration <= after for (begin, duration), (after, _) in pairwise(slices))


def test_waits_say_for_what(traced):
    _, trace, _ = traced
    waits = [event for event in events(trace, "X") if event["cat"] == "wait"]
    assert waits
    assert all(wait["dur"] >= 10 for wait in waits)
    assert all(re.fullmatch(r"waits for ('.+'|room in '.+'|data|the next step)", wait["name"]) for wait in waits)
    assert any(wait["name"].startswith("waits for '") for wait in waits)
    assert any(wait["name"] == "waits for the next step" for wait in waits)


def test_counters_say_what_is_live_and_what_was_received(traced):
    about, trace, _ = traced
    counters = defaultdict(list)
    for event in events(trace, "C"):
        counters[event["name"]].append(event["args"]["bytes"])
    assert all(size >= 0 for sizes in counters.values() for size in sizes)
    peaks = trace["otherData"]["peak_bytes"]
    assert list(peaks) == [f"cpu:{device}" for device in range(4)]
    for device, peak in peaks.items():
        assert max(counters[f"{device} live"]) == peak > 0
    received = {name: sizes for name, sizes in counters.items() if " from " in name}
    assert all(sizes == sorted(sizes) for sizes in received.values())
    assert sum(sizes[-1] for sizes in received.values()) == len(STEPS) * about["received"]
    transfers = [event["args"] for event in events(trace, "X") if event["cat"] == "transfer"]
    sizes = [size for args in transfers for name, size in args.items() if name.startswith("bytes from ")]
    assert sum(sizes) == len(STEPS) * about["received"]


def trace_of(path: Path) -> list[int]:
    return json.loads(path.read_text())["otherData"]["steps"]


def test_training_traces_three_steps_when_all_is_warm(tmp_path):
    for steps, expected in ((20, [5, 6, 7]), (6, [3, 4, 5]), (2, [0, 1])):
        with make_step(tr.mesh("cpu", dp=2)) as step:
            for _ in tr.train(step, [examples(8)], steps=steps, trace=tmp_path / "trace.json"):
                pass
        assert trace_of(tmp_path / "trace.json") == expected


def test_a_trace_that_is_cut_short_holds_what_was_made(tmp_path):
    with make_step() as step:
        for metrics in tr.train(step, [examples(8)], steps=20, trace=tmp_path / "left.json"):
            if metrics.step == 6:
                break
        assert trace_of(tmp_path / "left.json") == [5, 6]
        step.trace(tmp_path / "closed.json", range(7, 100))
        step(examples(8))
    assert trace_of(tmp_path / "closed.json") == [7]
    step.trace(tmp_path / "other.json", range(8, 100))
    step(examples(8))
    step(examples(4))  # another plan
    assert trace_of(tmp_path / "other.json") == [8]


def test_a_step_that_is_not_finite_is_no_part_of_it(tmp_path):
    step = make_step()
    step.trace(tmp_path / "trace.json", range(0, 9))
    step(examples(8))
    bad = examples(8)
    bad["x"][0, 0] = np.nan
    with pytest.raises(tr.FaultError, match="not finite"):
        step(bad)
    assert 0 in trace_of(tmp_path / "trace.json")
    step(examples(8))


def test_steps_that_cannot_be_traced_are_refused(tmp_path):
    step = make_step()
    step(examples(8))
    for steps in (range(0, 3), range(2, 2), range(1, 9, 2)):
        with pytest.raises(tr.PlanError, match=r"the next step is 1; range\(1, 4\) would do"):
            step.trace(tmp_path / "trace.json", steps)
