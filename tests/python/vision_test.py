"""Layers on images, buffers, and residual networks."""

import numpy as np
import pytest

import troupe as tr
from models.resnet.layouts import shared_statistics, split_head
from models.resnet.model import Configuration, ResNet
from troupe import functional as F
from troupe import nn, recipes

SMALL = Configuration(bottleneck=False, blocks=(1, 1), classes=6, width=16, small_images=True)
NUMBERS = np.random.default_rng(0)


def normal(*shape: int) -> np.ndarray:
    return NUMBERS.standard_normal(shape).astype(np.float32)


def images(rows: int = 24, seed: int = 0, size: int = 32) -> dict[str, np.ndarray]:
    random = np.random.default_rng(seed)
    x = random.standard_normal((rows, 3, size, size)).astype(np.float32)
    return {"x": x, "y": random.integers(0, 6, rows).astype(np.int32)}


def loss(model: nn.Module, batch: dict[str, tr.Tensor]) -> tr.Tensor:
    return F.cross_entropy(model(batch["x"]), batch["y"])


def make_step(mesh: str, recipe: recipes.Recipe | None = None, model: nn.Module | None = None, **options) -> tr.TrainStep:
    model = ResNet(SMALL) if model is None else model
    optimizer = tr.optim.SGD(model.parameters(), lr=0.01, momentum=0.9)
    return tr.TrainStep(model, loss, optimizer, mesh=tr.parse_mesh(mesh), recipe=recipe, seed=1, **options)


def trained(mesh: str, recipe: recipes.Recipe | None = None, steps: int = 2, **options) -> dict[str, np.ndarray]:
    """The losses of some steps, of an evaluation after them, and the state dict."""
    with make_step(mesh, recipe, **options) as step:
        losses = [step(images(seed=i)).loss for i in range(steps)]
        held_out = tr.evaluate(step, [images(seed=9)]).loss
        return {"losses": np.array([*losses, held_out]), **step.model.state_dict()}


def largest_difference(a: dict[str, np.ndarray], b: dict[str, np.ndarray]) -> float:
    return max(float(np.abs(a[name].astype(np.float64) - b[name]).max()) for name in a)


class Around(nn.Module):
    """A function as a module."""

    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, *tensors):
        return self.function(*tensors)


def windows(x: np.ndarray, kernel: int, stride: int, padding: int, fill: float) -> np.ndarray:
    """[n, c, rows, columns, kernel, kernel]"""
    padded = np.pad(x, [(0, 0), (0, 0), (padding, padding), (padding, padding)], constant_values=fill)
    return np.lib.stride_tricks.sliding_window_view(padded, (kernel, kernel), (2, 3))[:, :, ::stride, ::stride]


def test_convolutions_equal_their_definition():
    x, w, b = normal(2, 4, 9, 8), normal(6, 2, 3, 3), normal(6)
    y = Around(lambda x, w, b: F.conv2d(x, w, b, stride=2, padding=1, groups=2))(x, w, b)
    parts = windows(x, 3, 2, 1, 0).reshape(2, 2, 2, 5, 4, 3, 3)
    expected = np.einsum("ngchwij,gocij->ngohw", parts, w.reshape(2, 3, 2, 3, 3)).reshape(2, 6, 5, 4)
    assert np.allclose(y, expected + b[:, None, None], atol=1e-5)


def test_pools_equal_their_definition():
    x = normal(2, 3, 7, 9)
    assert (nn.MaxPool2d(3, stride=2, padding=1)(x) == windows(x, 3, 2, 1, -np.inf).max((-2, -1))).all()
    assert np.allclose(nn.AvgPool2d(3, 2, 1)(x), windows(x, 3, 2, 1, 0).mean((-2, -1)), atol=1e-6)
    inside = windows(np.ones_like(x), 3, 2, 1, 0).sum((-2, -1))
    without = nn.AvgPool2d(3, 2, 1, count_include_pad=False)(x)
    assert np.allclose(without, windows(x, 3, 2, 1, 0).sum((-2, -1)) / inside, atol=1e-6)
    assert np.allclose(nn.AdaptiveAvgPool2d(1)(x), x.mean((2, 3), keepdims=True), atol=1e-6)
    # Three windows share nine columns evenly; of seven rows two windows get four each.
    shared = nn.AdaptiveAvgPool2d((2, 3))(x)
    assert np.allclose(shared[:, :, 1, 2], x[:, :, 3:7, 6:9].mean((2, 3)), atol=1e-6)
    assert nn.Sequential(nn.AvgPool2d(3), nn.Flatten())(x).shape == (2, 3 * 2 * 3)


def test_mistakes_say_what_would_be_right():
    with pytest.raises(tr.PlanError, match="multiples of groups=3"):
        nn.Conv2d(6, 8, 3, groups=3)
    with pytest.raises(tr.PlanError, match="groups=2; the weight's dim 1 times groups must be the channels"):
        Around(lambda x, w: F.conv2d(x, w, groups=2))(normal(1, 4, 5, 5), normal(4, 4, 3, 3))
    with pytest.raises(tr.PlanError, match="conv2d.*kernel .5,5. .* reaches over 5 .* which is 4 with padding"):
        nn.Conv2d(3, 4, 5)(normal(1, 3, 4, 4))
    with pytest.raises(tr.PlanError, match="four dims"):
        nn.Conv2d(3, 4, 3)(normal(3, 8, 8))
    with pytest.raises(tr.PlanError, match="at most half the kernel"):
        nn.MaxPool2d(2, padding=2)(normal(1, 3, 4, 4))
    with pytest.raises(tr.PlanError, match="MaxPool2d|max_pool2d: kernel_size is"):
        nn.MaxPool2d((2, 2, 2))(normal(1, 3, 4, 4))
    with pytest.raises(tr.PlanError, match="BatchNorm2d: .* must have 4 dims"):
        nn.BatchNorm2d(3)(normal(4, 3))
    with pytest.raises(tr.PlanError, match="more than one number per channel"):
        nn.BatchNorm1d(3)(normal(1, 3))


def test_batch_norm_uses_a_batchs_statistics_in_training_and_running_ones_in_evaluation():
    layer = nn.BatchNorm2d(3, eps=1e-3)
    layer.weight.copy_(normal(3)), layer.bias.copy_(normal(3))
    layer.running_mean.copy_(normal(3)), layer.running_var.copy_(np.abs(normal(3)) + 0.5)
    x = normal(4, 3, 5, 2)

    def expected(mean: np.ndarray, var: np.ndarray) -> np.ndarray:
        along = (slice(None), None, None)
        h = (x - mean[along]) / np.sqrt(var[along] + 1e-3)
        return h * layer.weight.numpy()[along] + layer.bias.numpy()[along]

    before = layer.state_dict()
    assert np.allclose(layer(x), expected(x.mean((0, 2, 3)), x.var((0, 2, 3))), atol=1e-5)
    assert all((layer.state_dict()[name] == values).all() for name, values in before.items())
    assert np.allclose(layer.eval()(x), expected(before["running_mean"], before["running_var"]), atol=1e-5)
    alone = nn.BatchNorm2d(3, eps=1e-3, affine=False, track_running_stats=False).eval()
    assert list(alone.state_dict()) == []
    scale = np.sqrt(x.var((0, 2, 3)) + 1e-3)[:, None, None]
    assert np.allclose(alone(x), (x - x.mean((0, 2, 3))[:, None, None]) / scale, atol=1e-5)


class Normed(nn.Module):
    """A batch norm right on the data, and a classifier."""

    def __init__(self, **options):
        super().__init__()
        self.norm = nn.BatchNorm1d(5, **options)
        self.fc = nn.Linear(5, 6)

    def forward(self, x):
        return self.fc(self.norm(x))


def rows(count: int = 24, seed: int = 0) -> dict[str, np.ndarray]:
    random = np.random.default_rng(seed)
    x = random.normal(2, 3, (count, 5)).astype(np.float32)
    return {"x": x, "y": random.integers(0, 6, count).astype(np.int32)}


@pytest.mark.parametrize("momentum", [0.1, None])
@pytest.mark.parametrize("pieces", [1, 4])
def test_a_step_moves_running_statistics_once_to_the_mean_over_its_pieces(pieces, momentum):
    mean, var = np.zeros(5), np.ones(5)
    with make_step("dp=1", model=Normed(momentum=momentum), batch_shards=pieces) as step:
        for i in range(3):
            batch = rows(seed=i)
            step(batch)
            x = batch["x"].astype(np.float64).reshape(pieces, -1, 5)
            share = momentum if momentum is not None else 1 / (i + 1)
            mean += share * (x.mean(1).mean(0) - mean)
            var += share * (x.var(1, ddof=1).mean(0) - var)
        state = step.model.state_dict()
    assert np.allclose(state["norm.running_mean"], mean, rtol=1e-5)
    assert np.allclose(state["norm.running_var"], var, rtol=1e-5)
    assert state["norm.num_batches_tracked"] == 3


def test_a_skipped_step_leaves_running_statistics_as_they_are():
    with make_step("dp=2", model=Normed(), on_nonfinite="skip") as step:
        step(rows())
        before = step.model.state_dict()
        step(rows() | {"x": np.full((24, 5), np.nan, np.float32)})
        after = step.model.state_dict()
    assert all((after[name] == before[name]).all() for name in before)
    assert after["norm.num_batches_tracked"] == 1


def test_running_statistics_are_saved_and_trained_on(tmp_path):
    with make_step("dp=2", model=Normed()) as step:
        step(rows())
        step.save(str(tmp_path))
        step(rows(seed=1))
        straight = step.model.state_dict()
    with make_step("dp=1", model=Normed(), batch_shards=2) as step:
        step.load(str(tmp_path))
        assert "norm.running_mean" not in step.optimizer_state()
        step(rows(seed=1))
        resumed = step.model.state_dict()
    assert all((resumed[name] == straight[name]).all() for name in straight)


def test_a_buffer_is_a_constant_that_belongs_to_the_model():
    class Scaled(nn.Module):
        def __init__(self):
            super().__init__()
            self.register_buffer("scale", np.array([1.0, 2.0], np.float32))
            self.register_buffer("offset", np.array([1.0, 1.0], np.float32), persistent=False)
            self.register_buffer("nothing", None)

        def forward(self, x):
            return x * self.scale + self.offset

    model = Scaled()
    assert list(model.parameters()) == [] and [name for name, _ in model.named_buffers()] == ["scale", "offset"]
    assert list(model.state_dict()) == ["scale"] and model.nothing is None
    assert model(np.ones((1, 2), np.float32)).tolist() == [[2, 3]]
    model.scale = np.array([3.0, 3.0], np.float32)
    assert list(model.state_dict()) == ["scale"]
    with pytest.raises(tr.PlanError, match="requires_grad=False"):
        model.register_buffer("bad", nn.Parameter(np.ones(2, np.float32)))


@pytest.fixture(scope="module")
def on_one_device():
    return trained("dp=1", batch_shards=4)


@pytest.mark.parametrize("devices", [2, 4])
def test_data_parallel_training_has_the_same_bits_on_any_number_of_devices(devices, on_one_device):
    found = trained(f"dp={devices}", batch_shards=4)
    assert all((found[name] == on_one_device[name]).all() for name in on_one_device)


def test_a_pipeline_trains_the_same(on_one_device):
    found = trained("pp=2", recipes.data_parallel() + recipes.pipeline(), batch_shards=4)
    assert all((found[name] == on_one_device[name]).all() for name in on_one_device)


@pytest.mark.parametrize("mesh, shards", [("sp=2", 1), ("sp=3", 1), ("dp=2,sp=2", 2)])
def test_statistics_across_devices_are_those_of_the_whole_piece(mesh, shards):
    recipe = recipes.data_parallel() + shared_statistics()
    if "dp" not in mesh:  # pieces half as large are cheaper to gather for a norm
        with make_step(mesh, recipe, batch_shards=shards) as step:
            assert "channel_sum" in step.plan(images()).stages["deduce"]  # batch norm in parts, with sums between devices
    assert largest_difference(trained(mesh, recipe, batch_shards=shards), trained("dp=1", batch_shards=shards)) < 1e-5


def test_the_head_is_split_by_classes():
    recipe = recipes.data_parallel() + split_head()
    with make_step("tp=2", recipe) as step:
        assert "variable 'fc.weight': tp  -> S(0)" in step.plan(images()).stages["deduce"]
    assert largest_difference(trained("tp=2", recipe, batch_shards=1), trained("dp=1", batch_shards=1)) < 1e-5


def test_published_networks_have_torchvisions_parameters():
    # Counts and names as torchvision's documentation and state dicts have them.
    from models.resnet.published import PUBLISHED, make

    counts = {18: 11_689_512, 34: 21_797_672, 50: 25_557_032, 101: 44_549_160, 152: 60_192_808}
    for depth, count in counts.items():
        assert sum(p.numel() for p in make(f"resnet-{depth}").model.parameters()) == count
    assert list(PUBLISHED) == [f"resnet-{depth}" for depth in counts]
    shapes = {name: tuple(p.shape) for name, p in make("resnet-50").model._state()}
    assert len(shapes) == 320
    assert shapes["layer1.0.downsample.0.weight"] == (256, 64, 1, 1)
    assert shapes["layer4.2.conv2.weight"] == (512, 512, 3, 3)
    assert shapes["layer3.5.bn3.running_var"] == (1024,)
    assert shapes["bn1.num_batches_tracked"] == () and shapes["fc.bias"] == (1000,)
