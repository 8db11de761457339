"""From the same weights and data, losses stay as near to a float64 run as PyTorch's float32 run, within twice.

tests/parity has the cases, and the losses recorded with PyTorch.
"""

import sys

import pytest
from conftest import ROOT

import troupe as tr
from troupe import functional as F
from troupe import nn

sys.path.insert(0, str(ROOT / "tests" / "parity"))
import cases  # noqa: E402
from model import GPT  # noqa: E402

from models.bert.layouts import tensor_parallel as bert_tensor_parallel  # noqa: E402
from models.bert.model import Bert, masked_lm_loss  # noqa: E402
from models.bert.model import Configuration as BertConfiguration  # noqa: E402
from models.face.layouts import class_parallel  # noqa: E402
from models.face.model import Configuration as FaceConfiguration  # noqa: E402
from models.face.model import Margin, Recogniser, identity_loss  # noqa: E402
from models.llama.layouts import tensor_parallel  # noqa: E402
from models.llama.model import Configuration, Llama  # noqa: E402
from models.moe import model as moe  # noqa: E402
from models.moe.model import Mixtral  # noqa: E402
from models.resnet.layouts import shared_statistics, split_head  # noqa: E402
from models.resnet.model import Configuration as ResNetConfiguration  # noqa: E402
from models.resnet.model import ResNet  # noqa: E402
from models.wide_deep import train as wide_deep  # noqa: E402
from models.wide_deep.model import Configuration as WideDeepConfiguration  # noqa: E402
from models.wide_deep.model import WideDeep  # noqa: E402

RUNNING = ("running_mean", "running_var", "num_batches_tracked")
MESHES = {"one device": {}, "dp=4": {"dp": 4}, "tp=4": {"tp": 4}, "dp=2,tp=2": {"dp": 2, "tp": 2}}


class Classifier(nn.Module):
    """Linear layers with ReLU between."""

    def __init__(self, sizes):
        super().__init__()
        self.layers = len(sizes) - 1
        for i, (inputs, outputs) in enumerate(zip(sizes, sizes[1:]), 1):
            setattr(self, f"fc{i}", nn.Linear(inputs, outputs))

    def forward(self, x):
        for i in range(1, self.layers + 1):
            x = getattr(self, f"fc{i}")(x)
            x = F.relu(x) if i < self.layers else x
        return x


def make_model(case) -> nn.Module:
    if isinstance(case, cases.Mlp):
        return Classifier(case.sizes)
    if isinstance(case, cases.Resnet):
        return ResNet(ResNetConfiguration(False, case.blocks, case.classes, case.width, small_images=True))
    if isinstance(case, cases.Face):
        margin = Margin(case.scale, case.m1, case.m2, case.m3)
        return Recogniser(FaceConfiguration(case.inputs, (case.hidden,), case.dim, case.classes, margin))
    if isinstance(case, cases.Bert):
        sizes = (case.vocab, case.layers, case.dim, case.heads, case.hidden)
        return Bert(BertConfiguration(*sizes, context=case.tokens, dropout=0.0, eps=case.eps))
    if isinstance(case, cases.WideDeep):
        sizes = (case.rows, case.numeric, case.crosses, case.cross_rows, case.dim, case.hidden)
        return WideDeep(WideDeepConfiguration(*sizes))
    if isinstance(case, cases.Llama):
        sizes = (case.vocab, case.layers, case.dim, case.heads, case.kv_heads, case.hidden)
        options = {"context": case.tokens, "theta": case.theta, "eps": case.eps}
        if isinstance(case, cases.Moe):
            return Mixtral(moe.Configuration(*sizes, **options, experts=case.experts, chosen=case.chosen))
        return Llama(Configuration(*sizes, **options))
    return GPT(case.vocab, case.layers, case.dim, case.heads, case.context)


def losses(case, seed: int, axes: dict[str, int]) -> list[float]:
    """The losses of a run."""
    model = make_model(case)
    missing, unexpected = model.load_state_dict(cases.initial_weights(case, seed), strict=False)
    # Tied to a table and a bias; running statistics, which training does not read.
    assert not unexpected and all(name.split(".")[-2] == "decoder" or name.split(".")[-1] in RUNNING for name in missing)
    options = {name: value for name, value in case.optimizer.items() if name != "kind"}
    kind = tr.optim.AdamW if case.optimizer["kind"] == "adamw" else tr.optim.SGD
    splits = {
        cases.Llama: tensor_parallel,
        cases.Bert: bert_tensor_parallel,
        cases.Resnet: split_head,
        cases.WideDeep: tr.recipes.table_parallel,
        cases.Face: class_parallel,
    }
    own_losses = {cases.Bert: masked_lm_loss, cases.WideDeep: wide_deep.loss, cases.Face: identity_loss}
    with tr.TrainStep(
        model,
        own_losses.get(type(case), lambda m, b: F.cross_entropy(m(b["x"]), b["y"])),
        kind(model.parameters(), **options),
        mesh=tr.mesh("cpu", **axes),
        recipe=tr.recipes.data_parallel() + shared_statistics() + splits.get(type(case), tr.recipes.megatron)("tp"),
        batch_shards=1 if isinstance(case, cases.Resnet) else 8,  # batch norm has statistics of the whole batch
        clip_grad_norm=cases.CLIP_GRAD_NORM,
    ) as step:
        return [step(batch).loss for batch in cases.batches(case, seed)]


def axes_of(case, mesh: str) -> dict[str, int]:
    """For a batch norm, the samples of a piece are split instead of pieces."""
    axes = MESHES[mesh]
    return {"sp" if axis == "dp" else axis: size for axis, size in axes.items()} if isinstance(case, cases.Resnet) else axes


# The quickstart's model is large for a test; its small brother runs on all meshes.
RUNS = [(name, mesh) for name in cases.CASES if name != "gpt" for mesh in MESHES]
RUNS += [pytest.param("gpt", mesh, marks=pytest.mark.slow) for mesh in ("one device", "dp=2,tp=2")]


@pytest.mark.parametrize("name, mesh", RUNS)
def test_losses_follow_a_float64_run_as_pytorch_does(name, mesh):
    case = cases.CASES[name]
    ours, peer = cases.errors(name, [losses(case, seed, axes_of(case, mesh)) for seed in cases.SEEDS])
    print(f"{name} on {mesh}: {ours:.3g}, PyTorch {peer:.3g}")
    assert ours <= 2 * peer
