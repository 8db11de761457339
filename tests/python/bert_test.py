"""BERT: its names, its masked words, and the same numbers over meshes."""

import numpy as np
import pytest
from runs import assert_same, run_script

import troupe as tr
from models.bert.layouts import tensor_parallel
from models.bert.masking import END, IGNORED, MASK, PADDING, START, VOCAB, MaskedText
from models.bert.model import Bert, Configuration, masked_lm_loss
from models.bert.published import PUBLISHED
from troupe.recipes import data_parallel, pipeline, recompute, zero

SMALL = Configuration(VOCAB, layers=2, dim=32, heads=4, hidden=64, context=20)


@pytest.fixture(scope="module")
def words(tmp_path_factory):
    path = tmp_path_factory.mktemp("words") / "text.txt"
    path.write_bytes(np.random.default_rng(0).integers(0, 256, 100_000).astype(np.uint8).tobytes())
    return MaskedText(tr.data.tokens(str(path), seq=SMALL.context - 3, batch=16, seed=0))


def make_step(axes, recipe, of=SMALL):
    model = Bert(of)
    return tr.TrainStep(
        model,
        masked_lm_loss,
        tr.optim.AdamW(model.parameters(), lr=1e-2),
        mesh=tr.mesh("cpu", **axes),
        recipe=recipe,
        batch_shards=8,
        clip_grad_norm=1.0,
    )


def run(words, axes, recipe):
    with make_step(axes, recipe) as step:
        losses = [step(words.batch_at(i)).loss for i in range(3)]
    return losses, step.model.state_dict()


@pytest.fixture(scope="module")
def one_device(words):
    return run(words, {}, data_parallel())


@pytest.mark.parametrize(
    "axes, recipe",
    [
        ({"dp": 2}, data_parallel()),
        ({"dp": 8}, data_parallel() + tensor_parallel()),
        ({"dp": 4}, zero(3)),
        ({"pp": 2}, pipeline()),
        ({"dp": 2, "pp": 3}, zero(3) + pipeline("zero_bubble")),
        ({}, data_parallel() + recompute("bert.encoder.layer.*")),
    ],
    ids=str,
)
def test_bits_depend_neither_on_data_axes_nor_on_stages(words, axes, recipe, one_device):
    assert_same(run(words, axes, recipe), one_device)


@pytest.mark.parametrize("axes", [{"tp": 2}, {"tp": 3}, {"dp": 2, "tp": 4}, {"dp": 2, "pp": 2, "tp": 2}], ids=str)
def test_tensor_parallelism_changes_rounding_alone(words, axes, one_device):
    recipe = data_parallel() + tensor_parallel() + pipeline()
    assert np.allclose(run(words, axes, recipe)[0], one_device[0], rtol=1e-5)


def test_words_are_embedded_and_decoded_by_the_same_numbers(one_device):
    weights = one_device[1]
    assert np.array_equal(weights["bert.embeddings.word_embeddings.weight"], weights["cls.predictions.decoder.weight"])
    assert np.array_equal(weights["cls.predictions.bias"], weights["cls.predictions.decoder.bias"])
    first = Bert(SMALL).state_dict()["cls.predictions.decoder.weight"]
    assert not np.array_equal(weights["cls.predictions.decoder.weight"], first)


def test_a_split_vocabulary_is_never_gathered():
    batch = {name: np.zeros((16, 64), np.int32) for name in ("x", "segments", "y")} | {"mask": np.ones((16, 64), bool)}
    of = Configuration(30522, layers=1, dim=64, heads=4, hidden=128, context=64)
    plan = make_step({"tp": 4}, tensor_parallel(), of).plan(batch)
    nodes = {line.split(":")[0]: line for line in plan.stages["deduce"].splitlines()}
    assert "tp B, S(0) -> P" in nodes["embedding 'bert.embeddings.word_embeddings.embedding'"]
    assert "tp B, S(0), S(0) -> S(2)" in nodes["linear 'cls.predictions.decoder.linear'"]
    assert any(line.startswith("picked_logit") and "S(2), B -> P" in line for line in nodes.values())
    # Over all devices, all that moves in eight pieces is less than the table gathered once.
    assert sum(size for _, _, _, size in plan.traffic) < 3 * 4 * of.vocab * of.dim


def test_what_padding_holds_changes_nothing(words):
    model = Bert(SMALL).eval()
    batch = words.batch_at(0)
    mask = batch["mask"]
    other = np.where(mask, batch["x"], 7).astype(np.int32)
    assert not np.array_equal(other, batch["x"])
    found, changed = (model(x, batch["segments"], mask) for x in (batch["x"], other))
    assert np.array_equal(found[mask], changed[mask])
    swapped = model(batch["x"], 1 - batch["segments"], mask)
    assert not np.allclose(found[mask], swapped[mask])


def test_masked_words_are_drawn_by_step_and_as_published(words):
    batches = [words.batch_at(step) for step in range(300)]
    again = words.batch_at(299)
    assert all(np.array_equal(again[name], batches[299][name]) for name in again)
    x, y, mask, segments = (np.concatenate([b[name] for b in batches]) for name in ("x", "y", "mask", "segments"))
    assert np.array_equal(mask, x != PADDING) and 0.7 < mask.mean() < 0.95
    assert np.all(x[:, 0] == START) and np.all((x == END).sum(1) == 2)
    assert np.array_equal(segments == 1, (np.cumsum(x == END, 1) - (x == END) > 0) & mask)
    chosen = y != IGNORED
    text = mask & (x != START) & (x != END)
    assert np.all(text[chosen])
    assert abs(chosen.sum() / text.sum() - 0.15) < 0.01
    assert abs((x[chosen] == MASK).mean() - 0.8) < 0.02 and abs((x[chosen] == y[chosen]).mean() - 0.1) < 0.02


def test_hidden_words_are_those_of_the_text(tmp_path):
    path = tmp_path / "text.txt"
    path.write_bytes(bytes(range(256)) * 4)
    data = MaskedText(tr.data.tokens(str(path), seq=40, batch=4))
    for batch in (data.batch_at(0), next(iter(data))):
        for x, y in zip(batch["x"], batch["y"]):
            words = np.where(y != IGNORED, y, x)
            words = words[words < 256]
            assert np.array_equal(words, np.arange(words[0], words[0] + len(words)) % 256)


@pytest.mark.parametrize("name, count", [("bert-base", 109_514_298), ("bert-large", 335_174_458)])
def test_published_configurations_have_the_published_number_of_parameters(name, count):
    published = PUBLISHED[name]
    assert published.parameter_count() == count
    parameters = dict(Bert(published).named_parameters())
    assert sum(int(np.prod(p.shape)) for p in parameters.values()) == count
    last = f"bert.encoder.layer.{published.layers - 1}"
    assert parameters[f"{last}.attention.self.query.weight"].shape == (published.dim, published.dim)
    assert parameters[f"{last}.intermediate.dense.weight"].shape == (published.hidden, published.dim)


def test_the_script_trains(tmp_path):
    shown = run_script("models.bert.train", tmp_path, "--steps", "2", "--mesh", "dp=2,pp=2")
    assert "2/2" in shown and "validation loss" in shown and "by counting bytes" in shown
    assert (tmp_path / "run" / "step-00000002" / "model.safetensors").exists()
