"""Models on CUDA devices, on a simulated CUDA runtime: the numbers of the CPU, and the same bits over data-parallel meshes."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest
from model import GPT
from runs import CONTEXT, VOCAB, assert_same, train

import troupe as tr
from models.llama.layouts import tensor_parallel
from models.llama.model import Configuration, Llama
from troupe.recipes import data_parallel, megatron, offload, pipeline, recompute, zero

on_cuda = partial(tr.mesh, "cuda", devices=1)


def gpt():
    """A GPT of two layers."""
    tr.manual_seed(0)
    return GPT(vocab=VOCAB, layers=2, dim=32, heads=4, context=CONTEXT)


def llama():
    """A Llama of two layers, with fewer key heads than heads."""
    tr.manual_seed(0)
    return Llama(Configuration(vocab=VOCAB, layers=2, dim=32, heads=4, kv_heads=2, hidden=40, context=CONTEXT))


@pytest.mark.parametrize("model", [gpt, llama])
@pytest.mark.parametrize(("precision", "tolerance"), [("f32", 1e-5), ("bf16", 2e-2)])
def test_training_follows_the_cpu(devices, model, precision, tolerance):
    on_cpu = train(model(), {}, data_parallel(), 3, precision=precision)[0]
    found = train(model(), {}, data_parallel(), 3, precision=precision, on=on_cuda)[0]
    np.testing.assert_allclose(found, on_cpu, rtol=tolerance)


def test_the_bits_of_a_gpt_do_not_depend_on_the_data_parallel_devices(devices):
    one = train(gpt(), {}, data_parallel(), 2, on=on_cuda)
    assert_same(train(gpt(), {"dp": 2}, data_parallel(), 2, on=on_cuda), one)
    assert_same(train(gpt(), {"dp": 3}, zero(3), 2, on=on_cuda), one)
    assert_same(train(gpt(), {}, data_parallel() + recompute(), 2, on=on_cuda), one)
    assert_same(train(gpt(), {}, data_parallel() + offload("blocks.*"), 2, on=on_cuda), one)
    assert_same(train(gpt(), {"pp": 2, "dp": 2}, data_parallel() + pipeline(), 2, on=on_cuda), one)


def test_tensor_parallelism_changes_rounding_alone(devices):
    one = train(gpt(), {}, data_parallel(), 2)[0]
    np.testing.assert_allclose(train(gpt(), {"tp": 2}, megatron(), 2, on=on_cuda)[0], one, rtol=1e-5)
    one = train(llama(), {}, data_parallel(), 2)[0]
    recipe = data_parallel() + tensor_parallel()
    np.testing.assert_allclose(train(llama(), {"dp": 2, "tp": 2}, recipe, 2, on=on_cuda)[0], one, rtol=1e-5)
