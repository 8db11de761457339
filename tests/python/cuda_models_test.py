"""Models on CUDA devices, on a simulated CUDA runtime: the numbers of the CPU, and the same bits over data-parallel meshes."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest
from model import GPT
from runs import CONTEXT, VOCAB, assert_same, next_token, train

import troupe as tr
from models.llama.layouts import tensor_parallel
from models.llama.model import Configuration, Llama
from models.moe.layouts import expert_and_tensor_parallel
from models.moe.model import Configuration as MixtralConfiguration
from models.moe.model import Mixtral
from models.moe.published import loss as with_balance
from models.resnet.model import Configuration as ResNetConfiguration
from models.resnet.model import ResNet
from troupe import functional as F
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


def mixtral(capacity_factor=None):
    """A Mixtral of two layers, in which no token is dropped unless the capacity is limited."""
    tr.manual_seed(0)
    sizes = {"vocab": VOCAB, "layers": 2, "dim": 32, "heads": 4, "kv_heads": 2, "hidden": 24, "context": CONTEXT}
    limits = {"capacity_factor": capacity_factor, "dropless": capacity_factor is None}
    return Mixtral(MixtralConfiguration(**sizes, experts=4, **limits))


@pytest.mark.parametrize(("model", "loss"), [(gpt, next_token), (llama, next_token), (mixtral, with_balance)])
@pytest.mark.parametrize(("precision", "tolerance"), [("f32", 1e-5), ("bf16", 2e-2)])
def test_training_follows_the_cpu(devices, model, loss, precision, tolerance):
    on_cpu = train(model(), {}, data_parallel(), 3, loss=loss, precision=precision)[0]
    found = train(model(), {}, data_parallel(), 3, loss=loss, precision=precision, on=on_cuda)[0]
    np.testing.assert_allclose(found, on_cpu, rtol=tolerance)


def test_tokens_beyond_the_capacity_are_dropped_as_on_the_cpu(devices):
    on_cpu = train(mixtral(0.5), {}, data_parallel(), 2, loss=with_balance)[0]
    found = train(mixtral(0.5), {}, data_parallel(), 2, loss=with_balance, on=on_cuda)[0]
    np.testing.assert_allclose(found, on_cpu, rtol=1e-5)
    assert on_cpu[0] != train(mixtral(), {}, data_parallel(), 1, loss=with_balance)[0][0]


def test_splitting_experts_changes_rounding_alone(devices):
    one = train(mixtral(), {}, data_parallel(), 2, loss=with_balance)[0]
    recipe = data_parallel() + expert_and_tensor_parallel()
    found = train(mixtral(), {"dp": 2, "ep": 2}, recipe, 2, loss=with_balance, on=on_cuda)[0]
    np.testing.assert_allclose(found, one, rtol=1e-5)


def residual_losses(on, bottleneck, **axes):
    """The losses of training a small residual network, with the stem that pools, on random images."""
    tr.manual_seed(0)
    model = ResNet(ResNetConfiguration(bottleneck=bottleneck, blocks=(1, 1), classes=6, width=8))
    optimizer = tr.optim.SGD(model.parameters(), lr=0.01, momentum=0.9)
    random = np.random.default_rng(0)

    def loss(model, batch):
        return F.cross_entropy(model(batch["x"]), batch["y"])

    losses = []
    with tr.TrainStep(model, loss, optimizer, mesh=on(**axes), recipe=data_parallel(), seed=1, batch_shards=2) as step:
        for _ in range(3):
            x = random.standard_normal((8, 3, 32, 32)).astype(np.float32)
            losses.append(step({"x": x, "y": random.integers(0, 6, 8).astype(np.int32)}).loss)
    return losses


@pytest.mark.parametrize("bottleneck", [False, True])
def test_residual_networks_follow_the_cpu(devices, bottleneck):
    on_cpu = residual_losses(partial(tr.mesh, "cpu"), bottleneck)
    found = residual_losses(on_cuda, bottleneck)
    np.testing.assert_allclose(found, on_cpu, rtol=1e-5)
    assert residual_losses(on_cuda, bottleneck, dp=2) == found


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
