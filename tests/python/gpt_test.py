"""The byte-level GPT and its training script: bits over meshes, the script's outputs, resuming."""

import json
import struct
import subprocess
import sys

import numpy as np
import pytest
from conftest import ROOT
from model import GPT
from safetensors.numpy import load_file

import troupe as tr
from troupe import functional as F

SCRIPT = ROOT / "models" / "gpt" / "train.py"


def small() -> GPT:
    return GPT(vocab=64, layers=2, dim=32, heads=4, context=16)


def run(axes: dict[str, int], steps: int = 4):
    model = small()
    schedule = tr.optim.schedule.cosine(1e-2, warmup=2, total=steps)
    random = np.random.default_rng(0)
    with tr.TrainStep(
        model,
        lambda m, b: F.cross_entropy(m(b["x"]), b["y"]),
        tr.optim.AdamW(model.parameters(), lr=schedule),
        mesh=tr.mesh("cpu", **axes),
        batch_shards=8,
        recipe=tr.recipes.data_parallel() + tr.recipes.megatron(),
        clip_grad_norm=1.0,
    ) as step:
        losses = []
        for _ in range(steps):
            ids = random.integers(0, 64, (16, 17))
            losses.append(step({"x": ids[:, :-1], "y": ids[:, 1:]}).loss)
    return losses, model.state_dict()


@pytest.fixture(scope="module")
def one_device():
    return run({})


@pytest.mark.parametrize("axes", [{"dp": 2}, {"dp": 3}, {"dp": 4}, {"dp": 8}], ids=str)
def test_bits_do_not_depend_on_the_number_of_data_parallel_devices(axes, one_device):
    losses, weights = run(axes)
    assert losses == one_device[0]
    assert [name for name, value in weights.items() if not np.array_equal(value, one_device[1][name])] == []


@pytest.mark.parametrize("axes", [{"tp": 2}, {"tp": 4}, {"dp": 2, "tp": 2}, {"dp": 2, "tp": 4}], ids=str)
def test_tensor_parallelism_changes_rounding_alone(axes, one_device):
    assert np.allclose(run(axes)[0], one_device[0], rtol=1e-5)
    assert run(axes)[0] == run(axes)[0]


def test_attention_begins_near_for_every_seed():
    drawn = []
    for seed in (0, 1):
        tr.manual_seed(seed)
        weights = small().state_dict()
        similar = weights["pos.weight"] @ weights["pos.weight"].T
        assert np.all(similar.argmax(1) == np.arange(16))
        assert np.all(similar[0, :3] > similar[0, 1:4])
        query = weights["blocks.1.attn.q.weight"]
        assert np.array_equal(query, weights["blocks.1.attn.k.weight"])
        drawn += [query, weights["blocks.0.attn.q.weight"]]
    assert all(not np.array_equal(a, b) for i, a in enumerate(drawn) for b in drawn[:i])


def test_the_attention_is_causal():
    model, random = small(), np.random.default_rng(0)
    ids = random.integers(0, 64, (1, 16))
    changed = ids.copy()
    changed[0, 10:] = random.integers(0, 64, 6)
    a, b = model(ids), model(changed)
    assert np.array_equal(a[:, :10], b[:, :10]) and not np.allclose(a[:, 10:], b[:, 10:])


def script(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(SCRIPT), *arguments], capture_output=True, text=True, timeout=300
    )


def test_the_script_trains_resumes_and_leaves_what_it_promises(tmp_path):
    text = tmp_path / "text.txt"
    text.write_bytes(b"the quick brown fox jumps over the lazy dog. " * 400)
    options = ("--data", str(text), "--batch", "8", "--steps", "3")
    first = script(
        *options,
        "--mesh",
        "dp=2,tp=2",
        "--checkpoint",
        str(tmp_path / "run"),
        "--losses",
        str(tmp_path / "a"),
    )
    assert first.returncode == 0, first.stderr
    for shown in (
        "collective",
        "peak",
        "predicted step time",
        "3/3",
        "bigram",
        "trigram",
        "tokens/s",
        "checkpoint: ",
    ):
        assert shown in first.stdout
    lines = [line.split() for line in (tmp_path / "a").read_text().splitlines()]
    assert [int(step) for step, *_ in lines] == [0, 1, 2]
    for _, loss, bits in lines:
        assert np.float32(loss) == struct.unpack(">f", bytes.fromhex(bits))[0]
    tensors = load_file(tmp_path / "run" / "step-00000003" / "model.safetensors")
    assert tensors["blocks.3.attn.q.weight"].shape == (256, 256)
    assert json.loads((tmp_path / "run" / "step-00000003" / "state.json").read_text())["batch_shards"] == 8
    again = script(
        "--data",
        str(text),
        "--batch",
        "8",
        "--steps",
        "4",
        "--mesh",
        "dp=3",
        "--resume",
        str(tmp_path / "run"),
        "--losses",
        str(tmp_path / "a"),
    )
    assert again.returncode == 0, again.stderr
    assert [line.split()[0] for line in (tmp_path / "a").read_text().splitlines()] == ["0", "1", "2", "3"]


def test_the_script_says_what_is_wrong(tmp_path):
    missing = script("--data", str(tmp_path / "nothing"))
    assert missing.returncode == 1 and "nothing" in missing.stderr and "Traceback" not in missing.stderr
    wrong = script("--mesh", "dp=zero")
    assert wrong.returncode == 1 and "'dp=zero' is no axis" in wrong.stderr
