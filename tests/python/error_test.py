"""The user's mistakes and the world's failures: what each error says."""

import numpy as np
import pytest
from conftest import MLP, examples, make_step

import troupe as tr
from troupe import B, P, S, nn
from troupe import functional as F


def test_a_shape_mismatch_names_both_dims_and_the_line():
    with pytest.raises(
        tr.PlanError,
        match=r"linear 'up': inner dims differ: x is f32\[8,10\], w is f32\[16,12\]; "
        r"x.dim\(1\)=10 must equal w.dim\(1\)=12 \(conftest.py:\d+\)",
    ):
        make_step().plan({"x": np.zeros((8, 10), np.float32), "y": np.zeros(8, np.int64)})


def test_a_dtype_mismatch_names_both_dtypes():
    with pytest.raises(tr.PlanError, match=r"linear 'up'.*f64\[8,12\].*f32\[16,12\]"):
        make_step().plan({"x": np.zeros((8, 12)), "y": np.zeros(8, np.int64)})


def test_a_pin_on_a_dim_the_tensor_lacks():
    class Pinned(MLP):
        def forward(self, x):
            return super().forward(tr.pin(x, dp=S(4)))

    step = make_step(tr.mesh("cpu", dp=2), Pinned())
    with pytest.raises(
        tr.PlanError,
        match=r"pinned to S\(4\) on axis 'dp', but x is f32\[8,12\] with dims 0..1; "
        r"S\(0\), S\(1\), B or P are possible \(error_test.py:\d+\)",
    ):
        step.plan(examples(8))


def test_a_partial_parameter():
    step = make_step(tr.mesh("cpu", tp=2), layouts={"up.weight": {"tp": P}})
    with pytest.raises(
        tr.PlanError,
        match=r"up.weight is pinned to P by layouts\['up.weight'\] on axis 'tp', but a "
        r"variable is stored whole or in parts",
    ):
        step.plan(examples(8))


def test_an_axis_that_does_not_exist():
    step = make_step(tr.mesh("cpu", dp=2), layouts={"up.weight": {"tq": S(0)}})
    with pytest.raises(tr.PlanError, match=r"on axis 'tq', but the mesh has no such axis; 'dp' are possible"):
        step.plan(examples(8))


def test_more_cuda_devices_than_there_are():
    with pytest.raises(tr.PlanError, match=r"^mesh cuda dp=64 needs 64 CUDA devices"):
        tr.mesh("cuda", dp=64)


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ({"dp": 0}, "axis 'dp' has size 0"),
        ({"dp": 2.5}, "axis 'dp' has size 2.5"),
        ({"memory": "lots"}, "memory='lots' is no size"),
        ({"kind": "tpu"}, "no devices of kind 'tpu'"),
    ],
)
def test_a_mesh_that_cannot_be(arguments, text):
    with pytest.raises(tr.PlanError, match=text):
        tr.mesh(**arguments)


def test_a_batch_that_cannot_be_cut_says_what_can():
    step = make_step(batch_shards=8)
    with pytest.raises(
        tr.PlanError,
        match=r"a batch of 12 rows cannot be cut into 8 batch shards of 1 equal pieces; "
        r"batch_shards=1, 2, 3, 4, 6, 12; or batches of 8 or 16 rows are possible",
    ):
        step.plan(examples(12))


def test_fewer_batch_shards_than_data_parallel_devices():
    with pytest.raises(tr.PlanError, match="batch_shards=2 on 4 data-parallel devices"):
        make_step(tr.mesh("cpu", dp=4), batch_shards=2)


def test_arrays_of_a_batch_with_different_rows():
    with pytest.raises(tr.PlanError, match="'x' has 8, 'y' has 4"):
        make_step()({"x": np.zeros((8, 12), np.float32), "y": np.zeros(4, np.int64)})


def test_a_loss_that_is_not_finite_stops_and_names_the_first_tensor():
    class Explodes(MLP):
        def forward(self, x):
            return self.down(F.exp(self.up(x) * 1e4))

    step = make_step(tr.mesh("cpu", dp=2), Explodes(), batch_shards=4)
    before = step.model.state_dict()
    with pytest.raises(
        tr.FaultError,
        match=r"step 0: the loss or a gradient is not finite and nothing was updated.*"
        r"'exp'.*\(error_test.py:\d+\)",
    ):
        step(examples(8))
    after = step.model.state_dict()
    assert all(np.array_equal(before[name], after[name]) for name in before) and step.steps == 0


def test_a_step_that_is_not_finite_can_be_skipped():
    class Divides(MLP):
        def forward(self, x):
            return super().forward(x / x.amax(1, keepdim=True))

    step = make_step(model=Divides(), on_nonfinite="skip")
    batch = examples(8)
    step(batch)
    before = step.model.state_dict()
    metrics = step({**batch, "x": np.zeros_like(batch["x"])})
    assert np.isnan(metrics.loss) and step.steps == 2
    assert all(np.array_equal(before[name], value) for name, value in step.model.state_dict().items())
    assert np.isfinite(step(batch).loss)


def test_a_label_outside_the_classes_is_a_fault():
    batch = examples(8)
    batch["y"][3] = 77
    with pytest.raises(tr.FaultError, match="label 77.*outside 0..3"):
        make_step()(batch)


def test_a_missing_data_file(tmp_path):
    with pytest.raises(tr.FaultError, match="corpus.bin"):
        tr.data.tokens(tmp_path / "corpus.bin", seq=8, batch=2)


def test_a_checkpoint_of_another_model_names_the_first_tensor(tmp_path):
    step = make_step()
    step(examples(8))
    step.save(tmp_path / "saved")
    with pytest.raises(
        tr.PlanError, match=r"of another model: 'up.weight' has shape \[16, 12\], the model has \[20, 12\]"
    ):
        make_step(model=MLP(hidden=20)).load(tmp_path / "saved")
    with pytest.raises(tr.PlanError, match="of another model: it has no tensor '0.weight'"):
        make_step(model=nn.Sequential(nn.Linear(2, 2))).load(tmp_path / "saved")


def test_no_checkpoint_at_all(tmp_path):
    with pytest.raises(tr.FaultError, match="is no checkpoint"):
        make_step().load(tmp_path / "nothing")


def test_a_damaged_checkpoint(tmp_path):
    step = make_step()
    step(examples(8))
    step.save(tmp_path / "saved")
    file = tmp_path / "saved" / "model.safetensors"
    file.write_bytes(file.read_bytes()[:-7])
    with pytest.raises(tr.FaultError, match="model.safetensors"):
        make_step().load(tmp_path / "saved")


def test_too_little_memory_names_the_peak_and_its_tensors_before_anything_runs():
    step = make_step(tr.mesh("cpu", dp=2, memory="4KiB"), batch_shards=2)
    with pytest.raises(tr.PlanError, match=r"cpu:\d.*KiB.*4.0 KiB.*f32\["):
        step(examples(64))


def test_a_loss_that_is_no_scalar():
    def rows(model, batch):
        return F.cross_entropy(model(batch["x"]), batch["y"], reduction="none")

    with pytest.raises(tr.PlanError, match=r"the loss must be a floating point scalar, but .* is f32\[8\]"):
        make_step(loss=rows).plan(examples(8))


def test_a_parameter_outside_the_model():
    stray = nn.Parameter(np.zeros(4, np.float32))

    def loss(model, batch):
        return (model(batch["x"]) + stray).mean()

    with pytest.raises(tr.PlanError, match=r"is no part of the model.*\(error_test.py:\d+\)"):
        make_step(loss=loss).plan(examples(8))


def test_an_optimizer_with_unknown_options():
    with pytest.raises(
        tr.PlanError, match="AdamW has no option lrr; the options are betas, eps, lr, weight_decay"
    ):
        tr.optim.AdamW([{"params": MLP().parameters(), "lrr": 1}])


def test_recipes_that_disagree():
    recipe = tr.recipes.data_parallel("tp") + tr.recipes.megatron("tp")
    with pytest.raises(
        tr.PlanError,
        match=r"parameter 'up.weight': data_parallel\('tp'\) asks for B on axis 'tp', "
        r"megatron\('tp'\) for S\(0\)",
    ):
        make_step(tr.mesh("cpu", tp=2), recipe=recipe)


def test_patterns_that_match_nothing():
    with pytest.raises(
        tr.PlanError, match=r"layouts\['blocks.\*.weight'\]: the pattern matches no parameter"
    ):
        make_step(layouts={"blocks.*.weight": {"dp": B}})
    with pytest.raises(tr.PlanError, match=r"megatron\('tp'\) matches no Linear module"):
        model = nn.Sequential(nn.Linear(12, 4))
        make_step(tr.mesh("cpu", tp=2), model, recipe=tr.recipes.megatron())


def test_a_watch_that_matches_nothing():
    with (
        tr.watch("no.such.module"),
        pytest.raises(tr.PlanError, match="watch.*matches no module and no value"),
    ):
        make_step().plan(examples(8))
