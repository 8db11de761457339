"""Mixtures of experts: their formulas, who is dropped, and how experts are split."""

import re

import numpy as np
import pytest
from runs import assert_same

import troupe as tr
from troupe import functional as F
from troupe import nn
from troupe.recipes import data_parallel, expert_parallel, megatron, parse, zero

DIM, HIDDEN, EXPERTS, SEQ, ROWS = 8, 12, 6, 10, 8


class Layer(nn.Module):
    """Experts between linear layers, with a residual connection."""

    def __init__(self, **options):
        super().__init__()
        self.before = nn.Linear(DIM, DIM)
        self.moe = nn.MoE(DIM, HIDDEN, EXPERTS, **options)
        self.after = nn.Linear(DIM, DIM)

    def forward(self, x):
        x = self.before(x)
        y, balance = self.moe(x)
        return self.after(x + y), balance


class Chosen(nn.Module):
    """The three largest of each row."""

    def forward(self, x):
        return F.topk(x, 3)


def loss(model, batch):
    y, balance = model(batch["x"])
    return (y - batch["y"]).square().mean() + 0.1 * balance, {"balance": balance}


def step_of(model, axes, recipe, **options):
    options = {"batch_shards": 4, "clip_grad_norm": 0.25} | options  # gradients have a norm of about 0.4
    optimizer = tr.optim.AdamW(model.parameters(), lr=1e-2)
    return tr.TrainStep(model, loss, optimizer, mesh=tr.mesh("cpu", **axes), recipe=recipe, **options)


def train(axes, recipe, steps=3, model=None, **options):
    """Losses, balance losses included, norms of gradients, which are clipped, and weights."""
    random = np.random.default_rng(0)
    model = Layer(**options) if model is None else model
    with step_of(model, axes, recipe) as step:
        losses = []
        for _ in range(steps):
            x = random.standard_normal((ROWS, SEQ, DIM)).astype(np.float32)
            metrics = step({"x": x, "y": np.roll(x, 1, 1)})
            losses += [metrics.loss, metrics.balance, metrics.grad_norm]
            assert metrics.grad_norm > 0.25
    return losses, model.state_dict()


def formula(weights, x, k, capacity):
    """(y, balance loss) of an nn.MoE in float64, one token after another."""
    router, gate, up, down = (
        weights[name].astype(np.float64)
        for name in ("router.weight", *(f"experts.{part}_proj.weight" for part in ("gate", "up", "down")))
    )
    scores = np.exp(x @ router.T)
    probabilities = scores / scores.sum(-1, keepdims=True)
    chosen = np.argsort(-probabilities, -1, kind="stable")[..., :k]
    y, balance = np.zeros_like(x), []
    for row in range(x.shape[0]):
        taken = np.zeros(len(router), int)
        for j in range(k):
            for token in range(x.shape[1]):
                expert = chosen[row, token, j]
                taken[expert] += 1
                if taken[expert] > capacity:
                    continue
                mine = probabilities[row, token, chosen[row, token]]
                weight = mine[j] / mine.sum() if k > 1 else mine[j]
                hidden = gate[expert] @ x[row, token]
                hidden = hidden / (1 + np.exp(-hidden)) * (up[expert] @ x[row, token])
                y[row, token] += weight * (down[expert] @ hidden)
        balance.append(len(router) * np.sum(taken / (k * x.shape[1]) * probabilities[row].mean(0)))
    return y, np.mean(balance)


@pytest.mark.parametrize("k", [1, 2])
@pytest.mark.parametrize("factor, capacity", [(None, SEQ), (1.0, None), (0.5, None)])
def test_outputs_and_balance_are_those_of_the_formula(k, factor, capacity):
    moe = nn.MoE(DIM, HIDDEN, EXPERTS, k=k, capacity_factor=factor)
    capacity = capacity or int(np.ceil(factor * k * SEQ / EXPERTS))
    assert moe.capacity(SEQ) == capacity
    x = np.random.default_rng(1).standard_normal((3, SEQ, DIM))
    y, balance = moe(x.astype(np.float32))
    right, right_balance = formula(moe.state_dict(), x, k, capacity)
    assert np.allclose(y, right, atol=1e-5)
    assert np.allclose(balance, right_balance, rtol=1e-5)


@pytest.fixture(scope="module", params=[None, 1.25], ids=["dropless", "dropping"])
def factor(request):
    return request.param


@pytest.fixture(scope="module")
def one_device(factor):
    return train({}, data_parallel(), capacity_factor=factor)


# ep=4: two experts on two devices, one on the others; ep=3 does not divide the rows of a piece.
@pytest.mark.parametrize("axes", [{"ep": 2}, {"ep": 3}, {"ep": 4}, {"ep": 6}, {"dp": 2, "ep": 2, "tp": 2}], ids=str)
def test_splitting_experts_changes_rounding_alone(axes, factor, one_device):
    recipe = data_parallel() + expert_parallel() + (megatron(row=["down_proj"]) if "tp" in axes else parse("expert_parallel"))
    assert np.allclose(train(axes, recipe, capacity_factor=factor)[0], one_device[0], rtol=1e-5)


def test_the_number_of_data_parallel_devices_and_zero_keep_the_bits(factor, one_device):
    assert_same(train({"dp": 4}, data_parallel() + expert_parallel(), capacity_factor=factor), one_device)
    assert_same(train({"dp": 4}, zero(3) + expert_parallel(), capacity_factor=factor), one_device)
    split = train({"ep": 3}, data_parallel() + expert_parallel(), capacity_factor=factor)
    assert_same(train({"dp": 2, "ep": 3}, data_parallel() + expert_parallel(), capacity_factor=factor), split)
    assert_same(train({"dp": 2, "ep": 3}, zero(3) + expert_parallel(), capacity_factor=factor), split)


def test_zero_cuts_each_expert_and_not_the_list_of_them():
    model = Layer()
    step = step_of(model, {"dp": 4, "ep": 2}, zero(1) + expert_parallel())
    pins = step.pins["moe.experts.up_proj.weight"]
    assert {axis: str(rule.sbp) for axis, rule in pins.items()} == {"dp": "S(1)", "ep": "S(0)"}


def test_the_norm_of_experts_gradients_reads_the_parts_there_are_and_moves_a_number_per_row():
    x = np.zeros((ROWS, SEQ, DIM), np.float32)
    step = step_of(Layer(), {"dp": 2, "ep": 2}, zero(3) + expert_parallel())
    lines = step.plan({"x": x, "y": x}).stages["box"].splitlines()
    for part in ("gate", "up", "down"):
        name = f"moe.experts.{part}_proj.weight"
        (update,) = re.findall(rf"= adamw\({name}, (\S+),", "\n".join(lines))
        norm = [line for line in lines if line.startswith(f"step optimizer.norm.{name}.")]
        assert re.search(r"f32\[6,\d+\] S\(1\),S\(0\) = row_sum_squares\((\S+)\)", norm[0])[1] == update
        assert [re.search(r" = (\w+)", line)[1] for line in norm[1:]] == ["all_gather", "all_gather", "tree_sum"]


def test_tokens_go_to_their_experts_by_all_to_all():
    x = np.zeros((64, 16, DIM), np.float32)
    step = step_of(Layer(capacity_factor=1.0), {"ep": 4}, expert_parallel(), batch_shards=1)
    along = {kind: count for kind, axis, count, _ in step.plan({"x": x, "y": x}).traffic}
    assert along["all_to_all"] == 4


def test_tokens_beyond_a_bound_are_a_fault_that_names_the_factor():
    class ToOne(Layer):
        def forward(self, x):
            y, balance = self.moe(x * 0)  # all experts are alike, so all tokens go to the first
            return y, balance

    x = np.ones((ROWS, SEQ, DIM), np.float32)
    with step_of(ToOne(k=1, capacity_factor=2.0, dropless=True), {"dp": 2}, data_parallel()) as step:
        with pytest.raises(tr.FaultError, match=r"moe.*sends 10 tokens to expert 0.* 4 places.*capacity_factor \(it is 2\)"):
            step({"x": x, "y": x})
    with step_of(ToOne(k=1, capacity_factor=2.0), {"dp": 2}, data_parallel()) as step:
        assert np.isfinite(step({"x": x, "y": x}).loss)


def test_what_cannot_be_split_is_refused_with_what_can():
    with pytest.raises(tr.PlanError, match="'moe.experts.gate_proj' has 6 experts.*8 devices.*ep=6 or fewer is possible"):
        step_of(Layer(), {"ep": 8}, expert_parallel())
    with pytest.raises(tr.PlanError, match="the model has no experts; nn.MoE"):
        step_of(nn.Linear(2, 2), {"ep": 2}, expert_parallel())
    with pytest.raises(tr.PlanError, match="k=7 of 6 experts; 1 to 6 can be chosen"):
        Layer(k=7)
    with pytest.raises(tr.PlanError, match="capacity_factor=0 must be above 0"):
        Layer(capacity_factor=0)
    with pytest.raises(tr.PlanError, match="k is 3, but x is f32.*1 to 2 elements"):
        Chosen()(np.zeros((4, 2), np.float32))
