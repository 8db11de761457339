"""`troupe plan`: plans of published models on meshes of any size."""

import json
import resource
import subprocess
import sys

from conftest import ROOT


def plan(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "troupe", "plan", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=300, cwd=ROOT)


def test_a_thousand_gpus_are_planned_with_their_memory_traffic_and_bubble():
    done = plan(
        "gpt3-175b", "--mesh", "pp=8,dp=16,tp=8", "--recipe", "zero1+megatron+1f1b", "--batch", "1536", "--json"
    )
    assert done.returncode == 0, done.stderr
    assert resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss < 4 << 20, "KiB"
    found = json.loads(done.stdout)
    assert sum(row["devices"] for row in found["memory"]) == 1024
    # 16 bytes per parameter of a stage without ZeRO: parameters, gradients and two moments. Moments are cut in 16.
    first = max(found["memory"], key=lambda row: row["peak"])
    assert first["optimizer"] < 2 * 4 * 175e9 / 8 / 8 / 16 * 1.2
    assert {row["kind"] for row in found["collectives"]} >= {"all_gather", "reduce_scatter", "exchange"}
    # 32 pieces on 8 stages, and what the first and the last stage have beside their layers.
    assert abs(found["certificate"]["bubble"] - 7 / 39) < 0.05
    assert found["link_bytes"]["between hosts"] > 0 and found["predicted_step_s"] > 0


def test_several_plans_are_compared():
    done = plan("gpt2-124m", "--mesh", "dp=4", "--mesh", "dp=2,tp=2", "--recipe", "zero3", "--recipe", "data_parallel")
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert len(lines) == 5 and all("ms" in line and "GiB" in line for line in lines[1:])


def test_the_memory_of_many_devices_stands_in_columns():
    done = plan("gpt2-124m", "--mesh", "pp=2,dp=256", "--recipe", "data_parallel+1f1b")
    head, *rows = [line for line in done.stdout.splitlines() if line.startswith(("  devices ", "  gpu:"))]
    assert rows[1].startswith("  gpu:256 and 255 more ")
    assert all(row[head.index(column) - 1] == " " != row[head.index(column)] for row in rows for column in head.split())


def test_a_network_on_images_is_planned_with_statistics_across_devices():
    done = plan("resnet-50", "--mesh", "dp=4,sp=2", "--recipe", "data_parallel+sample_parallel", "--batch", "256")
    assert done.returncode == 0, done.stderr
    assert "dp=4, sp=2" in done.stdout and "all_reduce      sp" in done.stdout
    done = plan("resnet-50", "--mesh", "dp=8", "--seq", "128")
    assert done.returncode == 1 and "reads no sequences" in done.stderr


def test_steps_in_bfloat16_are_priced_as_such():
    seconds = {}
    for precision in ("f32", "bf16", "f16"):
        done = plan("gpt2-124m", "--batch", "8", "--pieces", "1", "--precision", precision, "--json")
        assert done.returncode == 0, done.stderr
        seconds[precision] = json.loads(done.stdout)["predicted_step_s"]
    # Products take half the time and most activations half the bytes; the update stays float32, and float16 goes once
    # more over the gradients, to undo their scale.
    assert 0.4 < seconds["bf16"] / seconds["f32"] < 0.8
    assert 1 < seconds["f16"] / seconds["bf16"] < 1.1


def test_a_stage_of_planning_can_be_read():
    done = plan("gpt2-124m", "--mesh", "dp=2", "--stage", "deduce")
    assert "linear 'blocks.0.mlp.up.linear': dp S(0), B, B -> S(0)" in done.stdout


def test_models_are_planned_by_recipes_of_their_own():
    done = plan("bert-base", "--mesh", "dp=2,tp=4", "--recipe", "zero1+tensor_parallel", "--stage", "deduce")
    assert done.returncode == 0, done.stderr
    assert "embedding 'bert.embeddings.word_embeddings.embedding': dp S(0), B -> S(0); tp B, S(0) -> P" in done.stdout
    other = plan("gpt2-124m", "--recipe", "tensor_parallel")
    assert other.returncode == 1 and "there is no 'tensor_parallel'" in other.stderr


def test_memory_decides_what_is_recomputed_and_offload_where_it_waits():
    arguments = ("gpt2-124m", "--mesh", "dp=4", "--batch", "16", "--json")
    facts = {}
    for recipe, memory in (("zero3", "0"), ("zero3+recompute_auto", "3GB"), ("zero3+offload", "2GB")):
        done = plan(*arguments, "--recipe", recipe, "--memory", memory)
        assert done.returncode == 0, done.stderr
        facts[recipe] = json.loads(done.stdout)
    peaks = [max(row["peak"] for row in found["memory"]) for found in facts.values()]
    assert peaks[0] > 3e9 and peaks[1] <= 3e9 and peaks[2] <= 2e9
    steps = [found["predicted_step_s"] for found in facts.values()]
    assert steps[0] < steps[1] < steps[0] * 4 / 3
    assert [row["devices"] for row in facts["zero3+offload"]["host_memory"]] == [4]
    moved = [row["bytes"] for row in facts["zero3+offload"]["collectives"] if row["axis"] == "host"]
    assert moved == [facts["zero3+offload"]["link_bytes"]["host memory"]]
    done = plan(*arguments, "--recipe", "zero3+recompute_auto", "--memory", "1GB")
    assert done.returncode == 1 and "the least that would do is memory=" in done.stderr


def test_what_cannot_be_planned_is_refused():
    done = plan("gpt5")
    assert done.returncode == 1 and "gpt2-124m" in done.stderr and "Traceback" not in done.stderr
    done = plan("gpt2-1.5b", "--mesh", "dp=2", "--memory", "10GiB")
    assert done.returncode == 1 and "largest tensors at the peak" in done.stderr
    done = plan("gpt2-124m", "--mesh", "pp=64", "--recipe", "1f1b")
    assert done.returncode == 1 and "at most" in done.stderr
