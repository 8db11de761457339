"""Wide & Deep: its loss, its tables in parts on any mesh, a published size that no device can hold alone, training."""

import numpy as np
import pytest

import troupe as tr
from models.wide_deep import clicks, train
from models.wide_deep.model import Configuration, WideDeep
from troupe import functional as F
from troupe import nn
from troupe.mesh import Mesh, memory_bytes
from troupe.published import find
from troupe.recipes import table_parallel

SMALL = Configuration(rows=(101, 50, 7, 2), numeric=4, crosses=4, cross_rows=97, dim=5, hidden=(16, 8))


def numpy_bce(x, target, pos_weight=1.0):
    x, target = x.astype(np.float64), target.astype(np.float64)
    return pos_weight * target * np.logaddexp(0, -x) + (1 - target) * np.logaddexp(0, x)


LOGITS = np.array([[0.5, -2.0, 30.0], [-30.0, 200.0, -200.0], [0.0, 1e-4, -90.0]], np.float32)
TARGETS = np.array([[1.0, 0.25, 1.0], [0.0, 0.0, 1.0], [0.5, 0.0, 0.0]], np.float32)


def test_cross_entropy_of_logits_neither_overflows_nor_loses_what_is_small():
    found = nn.BCEWithLogitsLoss(reduction="none")(LOGITS, TARGETS)
    # Rounded a few times; exact zeros are those below the smallest float32.
    assert np.allclose(found, numpy_bce(LOGITS, TARGETS), rtol=3e-7, atol=1e-38)
    assert 0 < found[0, 2] < 1e-12


def test_cross_entropy_of_logits_is_weighted_and_reduced_as_in_pytorch():
    each = numpy_bce(LOGITS, TARGETS, pos_weight=3.0) * 0.5
    for reduction, expected in (("mean", each.mean()), ("sum", each.sum()), ("none", each)):
        found = nn.BCEWithLogitsLoss(weight=0.5, reduction=reduction, pos_weight=3.0)(LOGITS, TARGETS)
        assert np.allclose(found, expected, rtol=1e-6)
    with pytest.raises(tr.PlanError, match="one shape and one dtype"):
        nn.BCEWithLogitsLoss()(LOGITS, TARGETS[:2])
    with pytest.raises(tr.PlanError, match="reduction='max'"):
        nn.BCEWithLogitsLoss(reduction="max")(LOGITS, TARGETS)


class Logits(nn.Module):
    """Logits that are parameters."""

    def __init__(self):
        super().__init__()
        self.x = nn.Parameter(LOGITS)


def test_the_gradient_of_the_cross_entropy_is_the_difference_of_probabilities():
    model = Logits()
    step = tr.TrainStep(
        model,
        lambda m, b: F.binary_cross_entropy_with_logits(m.x + b["zero"], b["y"], reduction="sum"),
        tr.optim.SGD(model.parameters(), lr=1.0),
    )
    step({"zero": np.zeros((3, 3), np.float32), "y": TARGETS})
    probability = 1 / (1 + np.exp(-LOGITS.astype(np.float64)))
    assert np.allclose(LOGITS - model.x.numpy(), probability - TARGETS, atol=1e-5)


def test_a_bag_is_the_sum_or_the_mean_of_its_rows():
    ids = np.array([[0, 2, 2], [1, 0, 3]])
    for mode in ("sum", "mean"):
        bag = nn.EmbeddingBag(4, 3, mode=mode)
        rows = bag.weight.numpy()[ids]
        assert np.allclose(bag(ids), rows.sum(1) if mode == "sum" else rows.mean(1), rtol=1e-6)
    with pytest.raises(tr.PlanError, match="mode='max'"):
        nn.EmbeddingBag(4, 3, mode="max")(ids)
    with pytest.raises(tr.PlanError, match="two dims or more"):
        nn.EmbeddingBag(4, 3)(ids[0])


def run(axes, recipe, steps=4):
    """Losses and weights."""
    model = WideDeep(SMALL)
    with tr.TrainStep(
        model,
        train.loss,
        tr.optim.AdamW(model.parameters(), lr=1e-2),
        mesh=tr.mesh("cpu", **axes),
        recipe=tr.recipes.data_parallel() + recipe,
        batch_shards=2,
        clip_grad_norm=1.0,
    ) as step:
        losses = [step(clicks.generate(24, i, SMALL)).loss for i in range(steps)]
        return losses, model.state_dict()


@pytest.fixture(scope="module")
def one_device():
    return run({}, table_parallel())


@pytest.mark.parametrize("split", ["row", "column"])
@pytest.mark.parametrize("axes", [{"tp": 2}, {"tp": 3}, {"dp": 2, "tp": 3}], ids=str)
def test_tables_in_uneven_parts_change_rounding_alone(axes, split, one_device):
    losses, weights = run(axes, table_parallel(split=split))
    assert np.allclose(losses, one_device[0], rtol=1e-5)
    # AdamW turns rounding errors of small gradients into steps of up to lr times their relative size.
    assert all(np.allclose(weights[name], value, atol=1e-4) for name, value in one_device[1].items())


def published_plan(recipe, axes, memory):
    published = find("wide-deep-criteo-1tb")
    step = tr.TrainStep(
        published.model,
        published.loss,
        published.optimizer(published.model.parameters()),
        mesh=Mesh("gpu", tuple(axes.items()), memory_bytes(memory)),
        recipe=recipe,
        clip_grad_norm=1.0,
    )
    return step.dry_plan(published.fields, 2048, gpus_per_host=8)


def test_a_published_size_does_not_fit_one_device():
    with pytest.raises(tr.PlanError, match="tables"):
        published_plan(table_parallel(), {"tp": 1}, "141GB")


@pytest.mark.parametrize("split, dim", [("row", 0), ("column", 1)])
def test_a_published_size_fits_in_parts_that_are_never_gathered(split, dim):
    plan = published_plan(table_parallel(split=split), {"tp": 16}, "80GB")
    table = 39884406 * 128 * 4
    assert sum(size for _, _, _, size in plan.traffic) < table / 16
    lines = plan.stages["deduce"].splitlines()
    part = f"S({dim})"
    (lookup,) = (line for line in lines if line.startswith("embedding 'tables.0.embedding':"))
    assert f", {part} -> " in lookup
    (gradient,) = (line for line in lines if "'tables.0.embedding.grad.embedding_gradient'" in line)
    assert gradient.endswith(f"-> {part}")
    (update,) = (line for line in lines if "'optimizer.tables.0.weight.adamw'" in line)
    assert update.endswith(f"{part}, {part}, B, B, B, B, {part}, {part} -> {part}, {part}, {part}")


def test_the_recipe_says_what_it_cannot_split():
    with pytest.raises(tr.PlanError, match="by 'row' or by 'column'"):
        table_parallel(split="rows")
    with pytest.raises(tr.PlanError, match="no Embedding"):
        table_parallel().decide(nn.Linear(2, 2), tr.mesh("cpu", tp=2))


def test_training_on_clicks_beats_the_rate_of_clicks_alone(capsys):
    options = ["--samples", "16000", "--steps", "100", "--mesh", "dp=2,tp=2", "--split", "column"]
    found, alone = train.run(train.parse(options))
    assert found < alone - 0.05
    assert "by the rate of clicks alone" in capsys.readouterr().out
