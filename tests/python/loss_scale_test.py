"""Loss scaling: what a step in float16 does when gradients overflow, and that scaling rounds nothing."""

import numpy as np
import pytest
import runs
from model import GPT
from runs import assert_same

import troupe as tr
from troupe import nn
from troupe.recipes import data_parallel, pipeline, zero

# Gradients of these models are below 1, so that one step with this scale overflows and the next, at 2^8, does not.
OVERFLOWS_ONCE = tr.LossScale(initial=2.0**40, backoff_factor=2.0**-32)


def gpt():
    return GPT(vocab=64, layers=2, dim=32, heads=4, context=16)


def batch():
    ids = np.random.default_rng(0).integers(0, 64, (16, 17))
    return {"x": ids[:, :-1], "y": ids[:, 1:]}


def make_step(model, axes=None, recipe=None, **options):
    options = {"precision": "f16"} | options
    return runs.make_step(model, axes or {}, recipe or data_parallel(), **options)


def run(axes=None, recipe=None, **options):
    return runs.train(gpt(), axes or {}, recipe or data_parallel(), 4, precision="f16", **options)


def test_the_scale_grows_after_so_many_finite_steps():
    with make_step(gpt(), loss_scale=tr.LossScale(growth_interval=2)) as step:
        metrics = [step(batch()) for _ in range(5)]
    assert [m.loss_scale for m in metrics] == [2.0**n for n in (16, 16, 17, 17, 18)]
    assert all(m.ok == 1 for m in metrics)


def test_gradients_that_overflow_change_nothing_but_the_scale():
    model = gpt()
    with make_step(model, loss_scale=OVERFLOWS_ONCE) as step:
        before = {name: value.copy() for name, value in model.state_dict().items()}
        overflowed = step(batch())
        state = step.optimizer_state()
        assert [name for name, value in model.state_dict().items() if not np.array_equal(value, before[name])] == []
        assert all(not value.any() for name, value in state.items() if name != "optimizer.loss_scale")
        finite = step(batch())
        assert (overflowed.ok, overflowed.loss_scale, overflowed.step) == (0, 2.0**40, 0)
        assert (finite.ok, finite.loss_scale, finite.step) == (1, 2.0**8, 1)
        assert finite.loss == overflowed.loss and np.isfinite(finite.grad_norm)
        assert step(batch()).loss < finite.loss


def test_at_its_floor_the_first_bad_tensor_is_named():
    scale = tr.LossScale(initial=2.0**40, floor=2.0**39)
    model = gpt()
    with make_step(model, loss_scale=scale) as step:
        before = {name: value.copy() for name, value in model.state_dict().items()}
        assert step(batch()).ok == 0
        with pytest.raises(tr.FaultError, match=r"step 1: the loss or a gradient is not finite.*grad"):
            step(batch())
        assert [name for name, value in model.state_dict().items() if not np.array_equal(value, before[name])] == []
    with make_step(gpt(), loss_scale=scale, on_nonfinite="skip") as step:
        assert [step(batch()).loss_scale for _ in range(3)] == [2.0**40, 2.0**39, 2.0**39]


def test_a_weight_beyond_float16_is_no_case_for_the_scale():
    model = gpt()
    model.head.weight.copy_(np.full((64, 32), 1e6, np.float32))
    with make_step(model) as step:
        with pytest.raises(tr.FaultError, match="'head.weight.cast'.* is not finite"):
            step(batch())
        assert step.optimizer_state()["optimizer.loss_scale"] == 2.0**16


def test_the_scale_is_saved_and_restored(tmp_path):
    scale = tr.LossScale(initial=2.0**40, backoff_factor=2.0**-32, growth_interval=2)
    whole = run(loss_scale=scale)
    model = gpt()
    with make_step(model, loss_scale=scale) as step:
        random = np.random.default_rng(0)
        ids = [runs.random_tokens(random) for _ in range(4)]
        batches = [{"x": i[:, :-1], "y": i[:, 1:]} for i in ids]
        losses = [step(b).loss for b in batches[:2]]
        step.save(tmp_path / "saved")
    resumed = gpt()
    with make_step(resumed, loss_scale=scale) as step:
        step.load(tmp_path / "saved")
        metrics = [step(b) for b in batches[2:]]
    assert [m.loss_scale for m in metrics] == [2.0**8, 2.0**9]
    assert_same((losses + [m.loss for m in metrics], resumed.state_dict()), whole)


def test_a_checkpoint_without_a_scale_begins_with_the_first(tmp_path):
    with make_step(gpt(), precision="bf16") as step:
        step(batch())
        step.save(tmp_path / "saved")
    with make_step(gpt()) as step:
        step.load(tmp_path / "saved")
        assert step(batch()).loss_scale == 2.0**16


def test_bits_do_not_depend_on_the_mesh():
    one_device = run(loss_scale=OVERFLOWS_ONCE)
    for axes, recipe in (
        ({"dp": 2}, data_parallel()),
        ({"dp": 4}, zero(3)),
        ({"pp": 2, "dp": 2}, zero(2) + pipeline()),
    ):
        assert_same(run(axes, recipe, loss_scale=OVERFLOWS_ONCE), one_device)


class Bigram(nn.Module):
    """Its ops compute on float32 in any precision."""

    def __init__(self):
        super().__init__()
        self.tok = nn.Embedding(64, 64)
        self.norm = nn.LayerNorm(64)

    def forward(self, x):
        return self.norm(self.tok(x))


@pytest.mark.parametrize("initial", [2.0**-10, 2.0**16, 2.0**30])
def test_norms_clipping_and_updates_see_what_they_would_without_a_scale(initial):
    def train(**options):
        model = Bigram()
        with make_step(model, clip_grad_norm=0.1, **options) as step:
            metrics = [step(batch()) for _ in range(3)]
        return [m.loss for m in metrics] + [m.grad_norm for m in metrics], model.state_dict()

    scaled = train(loss_scale=tr.LossScale(initial=initial, floor=2.0**-20))
    assert_same(scaled, train(precision="f32"))


def test_scales_that_would_round_are_refused():
    with pytest.raises(tr.PlanError, match="initial=3.0 must be a power of two"):
        tr.LossScale(initial=3.0)
    with pytest.raises(tr.PlanError, match="backoff_factor below 1"):
        tr.LossScale(backoff_factor=2.0)
    with pytest.raises(tr.PlanError, match="loss_scale goes with precision='f16'"):
        make_step(gpt(), precision="bf16", loss_scale=tr.LossScale())
