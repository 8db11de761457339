"""What a plan promises is what its run does: bytes between devices, and the most bytes that are live on each."""

import numpy as np
import pytest
from model import GPT

import troupe as tr
from models.bert.layouts import tensor_parallel as split_bert
from models.bert.model import Bert, Configuration as OfBert, masked_lm_loss
from models.face.layouts import class_parallel
from models.face.model import Configuration as OfFace, Margin, Recogniser, identity_loss
from models.llama.layouts import tensor_parallel as split_llama
from models.llama.model import Configuration as OfLlama, Llama
from models.moe.model import Configuration as OfMixtral, Mixtral
from models.moe.published import loss as balanced_loss
from models.resnet.layouts import split_head
from models.resnet.model import Configuration as OfResNet, ResNet
from troupe import functional as F
from troupe.recipes import data_parallel, megatron, parse, pipeline, sequence_parallel, zero

ROWS, SEQ, VOCAB = 24, 16, 64


def next_token_loss(model, batch):
    return F.cross_entropy(model(batch["x"]), batch["y"])


def tokens():
    ids = np.random.default_rng(0).integers(0, VOCAB, (ROWS, SEQ + 1))
    return {"x": ids[:, :-1], "y": ids[:, 1:]}


def gpt():
    return GPT(vocab=VOCAB, layers=2, dim=32, heads=4, context=SEQ), next_token_loss, tokens(), megatron()


def llama():
    of = OfLlama(vocab=VOCAB, layers=2, dim=32, heads=4, kv_heads=2, hidden=48, context=SEQ)
    return Llama(of), next_token_loss, tokens(), split_llama()


def bert():
    random = np.random.default_rng(0)
    words = random.integers(0, VOCAB, (ROWS, SEQ))
    batch = {
        "x": words,
        "segments": np.broadcast_to(np.arange(SEQ) > SEQ // 2, words.shape).astype(np.int64),
        "mask": np.arange(SEQ) < random.integers(4, SEQ + 1, (ROWS, 1)),
        "y": np.where(random.random((ROWS, SEQ)) < 0.2, words, -100),
    }
    return Bert(OfBert(vocab=VOCAB, layers=2, dim=32, heads=4, hidden=64, context=SEQ)), masked_lm_loss, batch, split_bert()


def mixtral():
    of = OfMixtral(vocab=VOCAB, layers=2, dim=32, heads=4, kv_heads=2, hidden=24, context=SEQ, experts=4)
    return Mixtral(of), balanced_loss, tokens(), split_llama()


def resnet():
    random = np.random.default_rng(0)
    x = random.standard_normal((ROWS, 3, 8, 8)).astype(np.float32)
    of = OfResNet(False, (1, 1, 1), classes=10, width=4, small_images=True)
    return ResNet(of), next_token_loss, {"x": x, "y": random.integers(0, 10, ROWS)}, split_head()


def face():
    random = np.random.default_rng(0)
    of = OfFace(16, (32,), 16, 53, Margin(8.0, 1.0, 0.3, 0.0))
    x = random.standard_normal((ROWS, 16)).astype(np.float32)
    return Recogniser(of), identity_loss, {"x": x, "y": random.integers(0, 53, ROWS)}, class_parallel("tp")


RUNS = [
    ({}, data_parallel()),
    ({"dp": 2}, data_parallel()),
    ({"dp": 3}, zero(1)),
    ({"dp": 5}, zero(2)),
    ({"dp": 4}, zero(3)),
    ({"dp": 2, "fsdp": 2}, data_parallel() + zero(3, "fsdp")),
    ({"dp": 2, "tp": 2}, data_parallel()),
    ({"tp": 2}, sequence_parallel(row=("out", "o_proj", "down", "down_proj", "output.dense"))),
    ({"dp": 2, "sp": 3}, parse("zero3+sample_parallel")),
    ({"pp": 2}, pipeline("gpipe")),
    ({"dp": 2, "pp": 3}, parse("zero3+1f1b")),
    ({"pp": 2}, pipeline("interleaved", chunks_per_stage=2)),
    ({"pp": 2, "tp": 2}, parse("zero_bubble+recompute")),
]


def expect_as_promised(make_model, axes, recipe, **options):
    model, loss, batch, split = make_model()
    recipe = recipe + split if "tp" in axes else recipe
    optimizer = tr.optim.AdamW(model.parameters(), lr=1e-3)
    options = {"batch_shards": 12, "clip_grad_norm": 1.0} | options
    with tr.TrainStep(model, loss, optimizer, mesh=tr.mesh("cpu", **axes), recipe=recipe, **options) as step:
        step(batch)
        (plan,) = step._plans.values()
        cluster = step.session.cluster
        cluster.observe(plan.handle, live_bytes=True, counts=True)
        for _ in range(4):  # a slot counts as live from its first writing on: by then all have been written
            step(batch)
        assert cluster.received_bytes(plan.handle) == 4 * sum(size for *_, size in plan.compiled.traffic)
        assert cluster.peak_bytes(plan.handle) == plan.compiled.promised_peak


@pytest.mark.parametrize("axes, recipe", RUNS, ids=lambda value: str(value))
@pytest.mark.parametrize("make_model", [gpt, llama, bert], ids=lambda make: make.__name__)
def test_a_run_does_what_its_plan_promised(make_model, axes, recipe):
    expect_as_promised(make_model, axes, recipe)


@pytest.mark.parametrize(
    "make_model, axes, recipe",
    [
        (mixtral, {"ep": 3}, parse("expert_parallel")),
        (mixtral, {"dp": 2, "ep": 2, "tp": 2}, parse("zero3+expert_parallel+recompute")),
        (resnet, {"dp": 3}, zero(2)),
        (resnet, {"sp": 2, "tp": 2}, parse("sample_parallel")),
        (face, {"dp": 2, "tp": 3}, zero(1)),
        (gpt, {"cp": 3}, parse("context_parallel")),
        (llama, {"dp": 2, "cp": 2}, parse("zero3+ring")),
        (gpt, {"dp": 2}, parse("zero3+offload")),
        (gpt, {"pp": 2}, parse("1f1b+offload+recompute")),
    ],
    ids=lambda value: getattr(value, "__name__", str(value)),
)
def test_recipes_of_some_models_keep_what_they_promise(make_model, axes, recipe):
    expect_as_promised(make_model, axes, recipe)


@pytest.mark.parametrize("options", [{"precision": "bf16"}, {"precision": "f16"}, {"reduction": "fast"}, {"pieces_per_shard": 2}], ids=str)
def test_options_keep_what_plans_promise(options):
    expect_as_promised(gpt, {"dp": 2, "tp": 2}, zero(3), **options)
