"""Optimizers: the updates of PyTorch and of the papers, bits on any mesh, refused steps, checkpoints."""

import sys

import numpy as np
import pytest
from conftest import ROOT, classify, examples

import troupe as tr
from troupe import functional as F
from troupe import nn
from troupe.recipes import data_parallel, megatron, pipeline, zero

sys.path.insert(0, str(ROOT / "tests" / "parity"))
import optimizers  # noqa: E402


class Parameters(nn.Module):
    """The parameters of tests/parity/optimizers.py."""

    def __init__(self):
        super().__init__()
        for name, value in optimizers.initial().items():
            setattr(self, name, nn.Parameter(value))


def linear_loss(model, batch):
    """Its gradients are the batch's sums."""
    first, *rest = ((getattr(model, name) * batch[name]).sum() for name in optimizers.SHAPES)
    for term in rest:
        first = first + term
    return first


def make_optimizer(kind, model, **options):
    """Muon takes the matrices, AdamW the rest."""
    parameters = list(model.parameters())
    if kind != "Muon":
        return getattr(tr.optim, kind)(parameters, **options)
    matrices = [p for p in parameters if len(p.shape) == 2]
    rest = [p for p in parameters if len(p.shape) != 2]
    return tr.optim.Combined(tr.optim.Muon(matrices, **options), tr.optim.AdamW(rest, lr=options["lr"]))


def schedule_of(case):
    if not case.get("scheduled"):
        return case["lr"]
    return tr.optim.schedule.linear(case["lr"], warmup=optimizers.WARMUP, total=optimizers.STEPS)


def weights_after(case):
    """The weights after the steps that are kept."""
    model = Parameters()
    options = {name: value for name, value in case.items() if name not in ("kind", "lr", "scheduled")}
    found = []
    with tr.TrainStep(model, linear_loss, make_optimizer(case["kind"], model, lr=schedule_of(case), **options)) as step:
        for i in range(optimizers.STEPS):
            step(optimizers.batch(i))
            if i + 1 in optimizers.KEPT:
                found.append(optimizers.flat(model.state_dict()))
    return found


@pytest.mark.parametrize("name", optimizers.CASES)
def test_weights_follow_a_float64_run_as_pytorch_does(name):
    record = optimizers.recorded()[name]
    assert optimizers.error(weights_after(optimizers.CASES[name]), record["float64"]) <= 2 * record["float32_error"]


def lamb(p, state, g, t, lr, decay, clamp):
    """One step of algorithm 2 of You et al. 2020 in float64."""
    m, v = state
    m[...] = 0.9 * m + 0.1 * g
    v[...] = 0.999 * v + 0.001 * g * g
    u = m / (1 - 0.9**t) / (np.sqrt(v / (1 - 0.999**t)) + 1e-6) + decay * p
    norms = np.linalg.norm(p), np.linalg.norm(u)
    ratio = min(max(norms[0], clamp[0]), clamp[1]) / norms[1] if norms[0] > 0 and norms[1] > 0 else 1.0
    p -= lr * ratio * u


@pytest.mark.parametrize("decay, clamp", [(0.0, (0.0, 10.0)), (0.1, (1.5, 2.5))])
def test_lamb_follows_the_paper(decay, clamp):
    case = {"kind": "LAMB", "lr": 0.02, "scheduled": True}
    weights = {name: value.astype(np.float64) for name, value in optimizers.initial().items()}
    weights["vector"][:] = 0  # no norm to go by
    state = {name: (np.zeros(shape), np.zeros(shape)) for name, shape in optimizers.SHAPES.items()}
    model = Parameters()
    model.load_state_dict({name: value.astype(np.float32) for name, value in weights.items()})
    optimizer = tr.optim.LAMB(model.parameters(), lr=schedule_of(case), weight_decay=decay, clamp=clamp)
    with tr.TrainStep(model, linear_loss, optimizer) as step:
        for i in range(optimizers.STEPS):
            step(optimizers.batch(i))
            for name, g in optimizers.gradients(i).items():
                lamb(weights[name], state[name], g, i + 1, optimizers.rate(case, i), decay, clamp)
    # Float32 rounds twelve updates of numbers up to 1.
    assert optimizers.error([optimizers.flat(model.state_dict())], [optimizers.flat(weights)]) < 1e-7


class Layers(nn.Module):
    """Three layers, the first two of equal shape: matrices, vectors and a number."""

    def __init__(self):
        super().__init__()
        self.fc1, self.fc2, self.head = nn.Linear(12, 12), nn.Linear(12, 12), nn.Linear(12, 4)
        self.gain = nn.Parameter(1.5)

    def forward(self, x):
        return self.head(F.gelu(self.fc2(F.gelu(self.fc1(x))))) * self.gain


OPTIMIZERS = {
    "Adam": {"lr": 1e-2, "weight_decay": 0.1},
    "LAMB": {"lr": 1e-2},
    "Adafactor": {"lr": 1e-2, "weight_decay": 0.1},
    "Muon": {"lr": 1e-2},
}


def make_step(kind, axes, recipe=None, model=None, **options):
    """A step of 4 batch shards on CPU devices."""
    model = Layers() if model is None else model
    return tr.TrainStep(
        model,
        classify,
        make_optimizer(kind, model, **OPTIMIZERS[kind]),
        mesh=tr.mesh("cpu", **axes),
        recipe=recipe,
        batch_shards=4,
        clip_grad_norm=1.0,
        **options,
    )


def run(kind, axes, recipe=None, steps=3):
    """Losses, weights and the optimizer's state."""
    with make_step(kind, axes, recipe) as step:
        losses = [step(examples(24, seed=i)).loss for i in range(steps)]
        return losses, step.model.state_dict(), step.optimizer_state()


def assert_same_bits(ours, theirs):
    assert ours[0] == theirs[0]
    for mine, others in zip(ours[1:], theirs[1:], strict=True):
        assert mine.keys() == others.keys()
        assert [name for name, value in mine.items() if not np.array_equal(value, others[name])] == []


@pytest.fixture(scope="module", params=OPTIMIZERS)
def one_device(request):
    return request.param, run(request.param, {"dp": 1})


def test_bits_are_equal_for_any_number_of_devices_and_any_stage_of_zero(one_device):
    kind, expected = one_device
    for dp, recipe in ((2, data_parallel()), (3, data_parallel()), (4, data_parallel()), (2, zero(1)), (3, zero(2))):
        assert_same_bits(run(kind, {"dp": dp}, recipe), expected)
    assert_same_bits(run(kind, {"dp": 4}, zero(3)), expected)


def test_tensor_parallelism_changes_rounding_alone(one_device):
    kind, expected = one_device
    split = megatron(column=["fc1"], row=["fc2"])
    losses, weights, _ = run(kind, {"dp": 2, "tp": 2}, zero(2) + split)
    assert np.allclose(losses, expected[0], rtol=1e-5)
    assert all(np.allclose(weights[name], value, atol=1e-5) for name, value in expected[1].items())


@pytest.mark.parametrize("kind", OPTIMIZERS)
def test_a_step_that_is_not_finite_changes_nothing(kind):
    with make_step(kind, {"dp": 2}, zero(1), on_nonfinite="skip") as step:
        step(examples(24))
        before = step.model.state_dict(), step.optimizer_state()
        bad = examples(24)
        bad["x"][3, 2] = np.nan
        assert np.isnan(step(bad).loss)
        assert_same_bits((0, step.model.state_dict(), step.optimizer_state()), (0, *before))


def test_a_checkpoint_resumes_to_the_bit_on_another_mesh(one_device, tmp_path):
    kind, expected = one_device
    with make_step(kind, {"dp": 2}, zero(1)) as step:
        losses = [step(examples(24, seed=0)).loss]
        step.save(tmp_path / "checkpoint")
    with make_step(kind, {"dp": 3}, zero(3)) as step:
        step.load(tmp_path / "checkpoint")
        losses += [step(examples(24, seed=i)).loss for i in (1, 2)]
        assert_same_bits((losses, step.model.state_dict(), step.optimizer_state()), expected)


class Deep(nn.Module):
    """Eight square layers and a head."""

    def __init__(self, width=128):
        super().__init__()
        self.layers = nn.ModuleList([nn.Linear(width, width) for _ in range(8)])
        self.head = nn.Linear(width, 4)

    def forward(self, x):
        for layer in self.layers:
            x = F.relu(layer(x))
        return self.head(x)


def plan_of(kind, axes, recipe=None):
    return make_step(kind, axes, recipe, Deep()).plan(examples(32, inputs=128))


@pytest.mark.parametrize("recipe", [data_parallel(), zero(1)], ids=str)
def test_muon_shares_matrices_out_among_devices(recipe):
    for dp in (1, 2, 4):
        plan = plan_of("Muon", {"dp": dp}, recipe)
        lines = [line for line in plan.text().splitlines() if "stack.layers.0.weight.newton_schulz: f32" in line]
        assert len(lines) == dp and all(f"f32[{8 // dp},128,128]" in line for line in lines)


def test_muon_keeps_matrices_on_the_stages_of_a_pipeline():
    recipe = data_parallel() + pipeline()
    written = plan_of("Muon", {"pp": 2}, recipe).stages["write"]
    assert "= newton_schulz(optimizer.stack.layers.0.weight.concat)" in written
    stacks = [line for line in written.splitlines() if "= newton_schulz(" in line and "[4,128,128]" in line]
    assert len(stacks) == 2
    assert_same_bits(run("Muon", {"dp": 2, "pp": 2}, recipe), run("Muon", {"dp": 1}))


@pytest.mark.parametrize("kind", ["LAMB", "Adafactor"])
def test_norms_and_sums_of_split_parameters_cost_little_traffic(kind):
    def received(kind):
        return sum(size for _, _, _, size in plan_of(kind, {"dp": 4}, zero(1)).traffic)

    # Adafactor's column sums exchange gradients once more, and parts of rows and norms are gathered.
    assert received("Adam") < received(kind) < received("Adam") * 1.2


def test_adafactor_keeps_rows_and_columns_of_matrices():
    _, weights, state = run("Adafactor", {"dp": 2}, zero(1), steps=1)
    assert {name: value.shape for name, value in state.items() if "step" not in name} == {
        **{f"optimizer.row_var.{name}": value.shape[:1] for name, value in weights.items() if value.ndim == 2},
        **{f"optimizer.col_var.{name}": value.shape[1:] for name, value in weights.items() if value.ndim == 2},
        **{f"optimizer.variance.{name}": value.shape for name, value in weights.items() if value.ndim < 2},
    }


def test_muon_and_combined_say_what_they_take():
    model = Layers()
    with pytest.raises(tr.PlanError, match=r"two dims, but 'gain' has the shape \[\]; .*Combined"):
        tr.optim.Muon(model.parameters())
    with pytest.raises(tr.PlanError, match="adjust_lr_fn='rms'; 'original' and 'match_rms_adamw' are possible"):
        tr.optim.Muon([model.fc1.weight], adjust_lr_fn="rms")
    with pytest.raises(tr.PlanError, match="two of the optimizers hold the parameter 'fc1.weight'"):
        tr.optim.Combined(tr.optim.Muon([model.fc1.weight]), tr.optim.AdamW(model.parameters()))
    with pytest.raises(tr.PlanError, match="no optimizer is given"):
        tr.optim.Combined()
    with pytest.raises(tr.PlanError, match="beta2_decay=0.8 must be at most 0"):
        tr.optim.Adafactor(model.parameters(), beta2_decay=0.8)


def test_combined_takes_rates_and_options_from_each():
    model = Layers()
    muon, adam = tr.optim.Muon([model.fc2.weight], lr=0.5), tr.optim.AdamW([model.fc1.weight], lr=0.25)
    combined = tr.optim.Combined(muon, adam)
    with tr.TrainStep(model, classify, combined) as step:
        before = model.state_dict()
        assert step(examples(8)).lr == 0.5
        changed = [name for name, value in model.state_dict().items() if not np.array_equal(value, before[name])]
        assert changed == ["fc1.weight", "fc2.weight"]
        muon.param_groups[0]["lr"] = 0.125
        assert step(examples(8)).lr == 0.125
