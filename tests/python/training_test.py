"""Training: bits that do not depend on the mesh, updates as PyTorch makes them, gradient accumulation, metrics."""

import threading

import numpy as np
import pytest
from conftest import MLP, classify, examples, make_step

import troupe as tr
from troupe import functional as F
from troupe import nn

STEPS = 5


def run(mesh, steps=STEPS, rows=16, **options):
    """Losses and final weights."""
    with make_step(mesh, **options) as step:
        losses = [step(examples(rows, seed=i)).loss for i in range(steps)]
        return losses, step.model.state_dict()


@pytest.fixture(scope="module")
def one_device():
    return run(tr.mesh("cpu", dp=1), batch_shards=8, clip_grad_norm=0.5)


@pytest.mark.parametrize("dp", [1, 2, 3, 4, 8])
def test_losses_and_weights_have_equal_bits_for_any_number_of_data_parallel_devices(dp, one_device):
    losses, weights = run(tr.mesh("cpu", dp=dp), batch_shards=8, clip_grad_norm=0.5)
    assert losses == one_device[0]
    assert all(np.array_equal(weights[name], value) for name, value in one_device[1].items())


def test_tensor_parallelism_changes_rounding_alone(one_device):
    recipe = tr.recipes.data_parallel() + tr.recipes.megatron()
    for mesh in (tr.mesh("cpu", tp=4), tr.mesh("cpu", dp=2, tp=2)):
        losses, weights = run(mesh, recipe=recipe, batch_shards=8, clip_grad_norm=0.5)
        assert np.allclose(losses, one_device[0], rtol=1e-5)
        assert all(np.allclose(weights[name], value, atol=1e-4) for name, value in one_device[1].items())


def test_dropout_draws_the_same_on_every_mesh():
    results = [
        run(tr.mesh("cpu", **axes), model=MLP(dropout=0.3), batch_shards=4)
        for axes in ({}, {"dp": 2}, {"dp": 4})
    ]
    assert results[0][0] == results[1][0] == results[2][0]


def test_pieces_of_a_shard_are_added_up():
    whole, _ = run(tr.mesh("cpu"), batch_shards=1)
    pieces, _ = run(tr.mesh("cpu"), batch_shards=1, pieces_per_shard=4)
    assert np.allclose(whole, pieces, rtol=1e-5)


def numpy_adamw(p, g, m, v, step, lr, decay):
    m[:] = 0.9 * m + 0.1 * g
    v[:] = 0.999 * v + 0.001 * g * g
    p *= 1 - lr * decay
    p -= lr / (1 - 0.9**step) * m / (np.sqrt(v / (1 - 0.999**step)) + 1e-8)


class Line(nn.Module):
    """w · x + b."""

    def __init__(self):
        super().__init__()
        self.w = nn.Parameter(np.array([0.5, -1.0], np.float32))
        self.b = nn.Parameter(0.25)

    def forward(self, x):
        return (x * self.w).sum(1) + self.b


def squared(model, batch):
    return F.mse_loss(model(batch["x"]), batch["y"])


def line_gradients(w, b, batch):
    error = batch["x"].astype(np.float64) @ w + b - batch["y"]
    return 2 * batch["x"].T @ error / len(error), 2 * error.mean()


@pytest.fixture
def line_batch():
    random = np.random.default_rng(1)
    return {
        "x": random.standard_normal((8, 2)).astype(np.float32),
        "y": random.standard_normal(8).astype(np.float32),
    }


def test_adamw_updates_as_in_pytorch(line_batch):
    model = Line()
    step = tr.TrainStep(model, squared, tr.optim.AdamW(model.parameters(), lr=0.1, weight_decay=0.2))
    w, b = np.array([0.5, -1.0]), np.array([0.25])
    state = [np.zeros(2), np.zeros(2), np.zeros(1), np.zeros(1)]
    for t in range(1, 4):
        gw, gb = line_gradients(w, b[0], line_batch)
        assert np.isclose(step(line_batch).grad_norm, np.sqrt((gw**2).sum() + gb**2), rtol=1e-5)
        numpy_adamw(w, gw, state[0], state[1], t, 0.1, 0.2)
        numpy_adamw(b, np.array([gb]), state[2], state[3], t, 0.1, 0.2)
    assert np.allclose(model.w.numpy(), w, atol=1e-5) and np.isclose(model.b.numpy(), b[0], atol=1e-5)


def test_sgd_with_momentum_clipping_and_groups(line_batch):
    model = Line()
    groups = [{"params": [model.w]}, {"params": [model.b], "lr": 0.01, "momentum": 0.0}]
    step = tr.TrainStep(model, squared, tr.optim.SGD(groups, lr=0.1, momentum=0.9), clip_grad_norm=0.5)
    w, b, momentum = np.array([0.5, -1.0]), 0.25, np.zeros(2)
    for t in range(3):
        gw, gb = line_gradients(w, b, line_batch)
        scale = min(1.0, 0.5 / (np.sqrt((gw**2).sum() + gb**2) + 1e-6))
        momentum = gw * scale if t == 0 else 0.9 * momentum + gw * scale
        w, b = w - 0.1 * momentum, b - 0.01 * gb * scale
        step(line_batch)
    assert np.allclose(model.w.numpy(), w, atol=1e-5) and np.isclose(model.b.numpy(), b, atol=1e-5)


def test_schedules_are_computed_in_the_graph(line_batch):
    model = Line()
    schedule = tr.optim.schedule.cosine(1.0, warmup=2, total=6, min=0.1)
    step = tr.TrainStep(model, squared, tr.optim.SGD(model.parameters(), lr=schedule))
    rates = [step(line_batch).lr for _ in range(8)]
    falling = [0.1 + 0.45 * (1 + np.cos(np.pi * k / 4)) for k in range(5)]
    assert np.allclose(rates, [0.5, 1.0, *falling, 0.1], atol=1e-6)


def test_frozen_parameters_stay(line_batch):
    model = Line()
    model.b.requires_grad = False
    step = tr.TrainStep(model, squared, tr.optim.AdamW(model.parameters()))
    step(line_batch)
    assert float(model.b.numpy()) == 0.25 and model.w.numpy()[0] != 0.5


def test_masked_rows_mean_the_same_however_the_batch_is_cut():
    batch = examples(16)
    batch["y"][[0, 1, 2, 3, 5, 8]] = -100
    results = [
        make_step(tr.mesh("cpu", dp=dp), batch_shards=shards)(batch)
        for dp, shards in ((1, 1), (2, 4), (4, 8))
    ]
    assert np.allclose([m.loss for m in results], results[0].loss, rtol=1e-6)
    assert np.allclose([m.grad_norm for m in results], results[0].grad_norm, rtol=1e-5)


def test_losses_of_several_means_add_up():
    def loss(model, batch):
        logits = model(batch["x"])
        masked = F.cross_entropy(logits, batch["y"])
        penalty = 0.1 * logits.square().mean() + 0.01 * model.up.weight.square().mean()
        return masked + penalty, {"penalty": penalty, "masked": masked}

    batch = examples(16)
    batch["y"][:5] = -100
    results = [make_step(tr.mesh("cpu", dp=dp), batch_shards=4, loss=loss)(batch) for dp in (1, 2, 4)]
    first = results[0]
    assert np.isclose(first.loss, first.masked + first.penalty, rtol=1e-6)
    assert all(m.loss == first.loss and m.grad_norm == first.grad_norm for m in results)


def test_watching_shows_tensors_and_changes_nothing():
    batch = examples(8)
    plain = make_step()(batch)
    with tr.watch("up"), tr.watch("down", tensor=True):
        seen = make_step()(batch)
    assert seen.loss == plain.loss
    model = MLP()
    up = model.up(batch["x"])
    assert np.isclose(seen["up.mean"], up.mean(), atol=1e-6)
    assert np.isclose(seen["up.mean_square"], (up**2).mean(), rtol=1e-5)
    assert np.allclose(seen["down"], model(batch["x"]), atol=1e-6)


def test_the_summary_shows_collectives_memory_and_what_recipes_left_out():
    step = make_step(
        tr.mesh("cpu", dp=2), recipe=tr.recipes.data_parallel() + tr.recipes.megatron(), batch_shards=2
    )
    plan, again = (step.plan(examples(8)) for _ in range(2))
    assert "all_reduce" in plan.summary() and "predicted step time" in plan.summary()
    assert "megatron('tp'): the mesh has no axis 'tp'; it counts as size 1" in plan.summary()
    assert {"all_reduce"} <= {kind for kind, *_ in plan.traffic} and len(plan.memory) == 2
    assert plan.text() == again.text()
    assert plan.stages


def test_a_plan_is_saved_and_shown(tmp_path, capsys):
    from troupe.__main__ import main

    plan = make_step().plan(examples(8))
    plan.save(tmp_path / "plan")
    assert main(["plan", str(tmp_path / "plan")]) == 0
    assert capsys.readouterr().out.strip() == plan.text().strip()


def test_two_steps_can_train_one_model_in_turn():
    model = MLP()
    first, second = make_step(model=model), make_step(tr.mesh("cpu", dp=2), model=model, batch_shards=2)
    a = [first(examples(8)).loss for _ in range(2)]
    b = second(examples(8)).loss
    c = first(examples(8)).loss
    assert a[0] > a[1] > b > c


def test_the_gradient_of_a_sum_is_not_divided():
    def total(model, batch):
        return F.cross_entropy(model(batch["x"]), batch["y"], reduction="sum")

    batch = examples(16)
    whole, mean = make_step(loss=total, batch_shards=4)(batch), make_step(loss=classify)(batch)
    assert np.isclose(whole.loss, 16 * mean.loss, rtol=1e-5) and np.isclose(
        whole.grad_norm, 16 * mean.grad_norm, rtol=1e-5
    )


def test_what_changes_between_steps_changes_the_plan(line_batch):
    model = Line()
    optimizer = tr.optim.SGD(model.parameters(), lr=0.1)
    step = tr.TrainStep(model, squared, optimizer)
    assert np.isclose(step(line_batch).lr, 0.1)
    optimizer.param_groups[0]["lr"] = 0.05
    model.b.requires_grad = False
    before = float(model.b.numpy())
    assert np.isclose(step(line_batch).lr, 0.05) and float(model.b.numpy()) == before


def test_other_threads_run_while_a_step_runs():
    step = make_step(model=MLP(256, 2048, 4))
    batch = examples(2048, inputs=256)
    step(batch)
    counts, done = [0], threading.Event()

    def count():
        while not done.wait(0.001):
            counts[0] += 1

    counter = threading.Thread(target=count)
    counter.start()
    metrics = [step(batch) for _ in range(3)]
    done.set()
    counter.join()
    assert counts[0] > 5 and sum(m.seconds for m in metrics) > 0.02
