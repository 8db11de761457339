"""The record of PyTorch's losses belongs to the weights and batches that cases.py makes here; where PyTorch is
installed (TROUPE_PEER_PYTHON), it still gives those losses."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parent))
import cases  # noqa: E402
import optimizers  # noqa: E402


@pytest.mark.parametrize("name", cases.CASES)
def test_record_is_of_these_weights_and_batches(name):
    record = cases.recorded(name)
    seeds = cases.SEEDS if name != "gpt" else cases.SEEDS[:2]
    assert record["checksum"][: len(seeds)] == [cases.checksum(cases.CASES[name], seed) for seed in seeds]
    for dtype in ("float64", "float32"):
        losses = np.array(record[dtype])
        assert losses.shape == (len(cases.SEEDS), cases.STEPS) and np.isfinite(losses).all()


@pytest.mark.parametrize("name", cases.CASES)
def test_float32_run_is_near_the_float64_run(name):
    ours, peer = cases.errors(name, cases.recorded(name)["float32"])
    assert ours == peer and 0 < peer < 1e-6


def test_errors_sees_a_difference():
    off = np.array(cases.recorded("mlp")["float64"][:3]) + 1e-3
    ours, _ = cases.errors("mlp", off)
    assert ours == pytest.approx(1e-3, rel=1e-6)


def made_by_pytorch(script: str, *arguments: str) -> dict:
    """What a script that records prints."""
    python = os.environ.get("TROUPE_PEER_PYTHON")
    if not python:
        pytest.skip("TROUPE_PEER_PYTHON is not set: no PyTorch to compare with (.ci/run installs it)")
    command = [python, str(Path(__file__).parent / script), *arguments]
    answer = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert answer.returncode == 0, answer.stderr
    return json.loads(answer.stdout)


def test_pytorchs_optimizers_still_give_the_recorded_weights():
    live, record = made_by_pytorch("record_optimizers.py", "--print"), optimizers.recorded()
    assert live.keys() == record.keys() == optimizers.CASES.keys()
    for name, case in record.items():
        np.testing.assert_allclose(live[name]["float64"], case["float64"], rtol=1e-9, err_msg=name)


@pytest.mark.parametrize("name", [name for name in cases.CASES if name != "gpt"])
def test_pytorch_still_gives_the_recorded_losses(name):
    live, record = made_by_pytorch("record.py", "--print", name, "--seeds", "2"), cases.recorded(name)
    assert live["checksum"] == record["checksum"][:2]
    np.testing.assert_allclose(live["float64"], record["float64"][:2], rtol=1e-9)
    np.testing.assert_allclose(live["float32"], record["float32"][:2], rtol=1e-5)
