"""The training loop, checkpoints, evaluation and generation."""

import json
import os
import signal
import subprocess
import sys
import textwrap
import time

import numpy as np
import pytest
from conftest import MLP, ROOT, classify, examples, make_step
from safetensors.numpy import load_file

import troupe as tr
from troupe import functional as F
from troupe import nn


def data(rows: int = 64, batch: int = 16) -> tr.data.Arrays:
    return tr.data.arrays(**examples(rows), batch=batch, seed=1)


def weights_equal(a: nn.Module, b: nn.Module) -> bool:
    return all(np.array_equal(x, y) for x, y in zip(a.state_dict().values(), b.state_dict().values()))


def test_training_learns_and_reports_every_step(tmp_path):
    step = make_step(tr.mesh("cpu", dp=2), batch_shards=4)
    log = tr.log.jsonl(tmp_path / "log.jsonl")
    metrics = list(tr.train(step, data(), steps=30, log=[log]))
    assert [m.step for m in metrics] == list(range(30)) and metrics[-1].loss < metrics[0].loss / 2
    lines = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert [line["loss"] for line in lines] == [m.loss for m in metrics]


def test_checkpoints_are_safetensors_and_only_the_newest_stay(tmp_path):
    step = make_step()
    list(tr.train(step, data(), steps=7, checkpoint=tmp_path / "run", every=2))
    assert sorted(os.listdir(tmp_path / "run")) == ["step-00000006", "step-00000007"]
    tensors = load_file(tmp_path / "run" / "step-00000007" / "model.safetensors")
    assert all(np.array_equal(tensors[name], value) for name, value in step.model.state_dict().items())
    state = json.loads((tmp_path / "run" / "step-00000007" / "state.json").read_text())
    assert state["step"] == 7 and state["batch_shards"] == 1


@pytest.mark.parametrize(
    ("first", "second"), [({"dp": 1}, {"dp": 4}), ({"dp": 4}, {"dp": 3}), ({"dp": 2}, {"dp": 1})]
)
def test_training_goes_on_from_a_checkpoint_on_another_mesh_with_equal_bits(tmp_path, first, second):
    through = make_step(tr.mesh("cpu", dp=2), batch_shards=4, model=MLP(dropout=0.2))
    expected = [m.loss for m in tr.train(through, data(), steps=8)]
    begun = make_step(tr.mesh("cpu", **first), batch_shards=4, model=MLP(dropout=0.2))
    losses = [m.loss for m in tr.train(begun, data(), steps=5, checkpoint=tmp_path / "run")]
    resumed = make_step(tr.mesh("cpu", **second), batch_shards=4, model=MLP(dropout=0.2))
    losses += [m.loss for m in tr.train(resumed, data(), steps=8, checkpoint=tmp_path / "run", resume=True)]
    assert losses == expected and weights_equal(resumed.model, through.model)


def test_a_checkpoint_can_be_loaded_into_a_running_step(tmp_path):
    step = make_step()
    batch = examples(16)
    step(batch)
    step.save(tmp_path / "saved")
    after = [step(batch).loss for _ in range(2)]
    step.load(tmp_path / "saved")
    assert step.steps == 1 and [step(batch).loss for _ in range(2)] == after


def test_a_step_can_be_saved_before_it_has_run(tmp_path):
    make_step().save(tmp_path / "saved")
    step = make_step(tr.mesh("cpu", dp=2), batch_shards=2, seed=3)
    with pytest.raises(tr.PlanError, match="batch_shards=1"):
        step.load(tmp_path / "saved")
    step = make_step(seed=3)
    step.load(tmp_path / "saved")
    assert step.steps == 0 and weights_equal(step.model, MLP())


def test_leaving_the_loop_early_saves(tmp_path):
    step = make_step()
    for m in tr.train(step, data(), steps=100, checkpoint=tmp_path):
        if m.step == 2:
            break
    assert os.listdir(tmp_path) == ["step-00000003"]


def test_a_batch_shards_mismatch_is_refused(tmp_path):
    step = make_step(batch_shards=2)
    step(examples(16))
    step.save(tmp_path / "saved")
    with pytest.raises(tr.PlanError, match="written with batch_shards=2, this step has 4"):
        make_step(batch_shards=4).load(tmp_path / "saved")


def test_ctrl_c_ends_the_step_saves_and_raises(tmp_path):
    script = textwrap.dedent(f"""
        import sys
        sys.path.insert(0, {str(ROOT / "tests" / "python")!r})
        from conftest import examples, make_step
        import troupe as tr
        step = make_step(tr.mesh("cpu", dp=2), batch_shards=2)
        data = tr.data.arrays(**examples(64), batch=16)
        for m in tr.train(step, data, steps=10**9, checkpoint={str(tmp_path)!r}):
            if m.step == 20:
                print("running", flush=True)
    """)
    process = subprocess.Popen(
        [sys.executable, "-c", script], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout.readline() == "running\n"
    began = time.monotonic()
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=20)
    assert time.monotonic() - began < 3 and "KeyboardInterrupt" in errors
    step = make_step(tr.mesh("cpu", dp=2), batch_shards=2)
    step.load(tmp_path)
    assert step.steps > 20 and np.isfinite(step(examples(16)).loss)


def test_evaluation_counts_every_row_once_and_turns_dropout_off():
    model = MLP(dropout=0.5)
    held_out = examples(21, seed=5)
    held_out["y"][[1, 20]] = -100
    step = make_step(tr.mesh("cpu", dp=2), model=model, batch_shards=2)
    step(examples(16))
    found = tr.evaluate(step, tr.data.arrays(**held_out, batch=8, shuffle=False)).loss
    logits = model.eval()(held_out["x"]).astype(np.float64)
    rows = np.log(np.exp(logits).sum(1)) - logits[np.arange(21), held_out["y"].clip(0)]
    assert np.isclose(found, rows[held_out["y"] >= 0].mean(), rtol=1e-5)
    assert model.training is False and all(np.isfinite(step(examples(16)).loss) for _ in range(2))


@pytest.mark.parametrize("rows", [1, 3])
def test_a_batch_of_fewer_rows_than_devices_is_evaluated(rows):
    losses = set()
    for axes in ({}, {"dp": 4}, {"dp": 4, "tp": 2}):
        tr.manual_seed(1)
        step = make_step(tr.mesh("cpu", **axes), recipe=tr.recipes.parse("zero3+megatron"), batch_shards=8)
        step(examples(8))
        losses.add(float(tr.evaluate(step, [examples(rows)]).loss))
    assert len(losses) == 1


def test_evaluation_of_a_module_needs_a_loss_and_returns_metrics():
    model, held_out = MLP(), tr.data.arrays(**examples(20), batch=8, shuffle=False)

    def loss(m, b):
        logits = m(b["x"])
        return F.cross_entropy(logits, b["y"]), {"size": logits.square().mean()}

    result = tr.evaluate(model, held_out, loss)
    assert np.isclose(result["size"], (model(examples(20)["x"]) ** 2).mean(), rtol=1e-5)
    with pytest.raises(tr.PlanError, match="a module needs a loss function"):
        tr.evaluate(model, held_out)
    with pytest.raises(tr.PlanError, match="the data is empty"):
        tr.evaluate(model, [], classify)


def test_evaluating_between_steps_changes_no_bit_of_training():
    plain, watched = make_step(batch_shards=2), make_step(batch_shards=2)
    expected = [m.loss for m in tr.train(plain, data(), steps=6)]
    losses = []
    for m in tr.train(watched, data(), steps=6):
        losses.append(m.loss)
        tr.evaluate(watched, data())
        _ = watched.model(examples(3)["x"])
    assert losses == expected


def test_evaluation_before_training_leaves_the_layouts_to_training():
    step = make_step(
        tr.mesh("cpu", dp=2, tp=2), recipe=tr.recipes.data_parallel() + tr.recipes.megatron(), batch_shards=2
    )
    before = tr.evaluate(step, data()).loss
    losses = [step(examples(16)).loss for _ in range(3)]
    assert tr.evaluate(step, data()).loss < before and losses[-1] < losses[0]


class Next(nn.Module):
    """The next id is this one plus one."""

    context = 6

    def __init__(self):
        super().__init__()
        self.table = nn.Parameter(10 * np.roll(np.eye(8, dtype=np.float32), 1, axis=1))

    def forward(self, ids):
        return F.embedding(ids, self.table)


def test_generation_continues_the_prompt_beyond_the_context():
    out = tr.generate(Next(), [5, 6], 8, temperature=0)
    assert out.tolist() == [5, 6, 7, 0, 1, 2, 3, 4, 5, 6]
    assert tr.generate(Next(), b"\x01", 3, top_k=1).tolist() == [1, 2, 3, 4]
    one, two = (tr.generate(Next(), [0], 20, temperature=8.0, seed=s).tolist() for s in (1, 1))
    assert one == two != tr.generate(Next(), [0], 20, temperature=8.0, seed=2).tolist()
    with pytest.raises(tr.PlanError, match="at least one token id"):
        tr.generate(Next(), [], 3)


def test_an_iterable_of_batches_trains_until_it_ends():
    batches = (examples(8, seed=i) for i in range(4))
    assert len(list(tr.train(make_step(), batches, steps=10))) == 4


def test_tokens_train_through_their_own_source(tmp_path):
    (tmp_path / "text.bin").write_bytes(bytes(i % 8 for i in range(500)))
    results = []
    for dp in (1, 2):
        step = make_step(
            tr.mesh("cpu", dp=dp), nn.Sequential(nn.Embedding(8, 16), nn.Linear(16, 8)), batch_shards=2
        )
        tokens = tr.data.tokens(tmp_path / "text.bin", seq=10, batch=4)
        results.append([m.loss for m in tr.train(step, tokens, steps=25)])
        assert results[-1][-1] < results[-1][0]
    assert results[0] == results[1]


def test_the_console_shows_progress(capsys):
    list(tr.train(make_step(), data(), steps=3, log=[tr.log.progress(3)]))
    assert "3/3" in capsys.readouterr().out
