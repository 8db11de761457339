"""Modules and parameters: names, state dicts, initialisation, and calls with arrays."""

import numpy as np
import pytest
from conftest import MLP

import troupe as tr
from troupe import functional as F
from troupe import nn


class Tied(nn.Module):
    def __init__(self):
        super().__init__()
        self.tok = nn.Embedding(8, 4)
        self.blocks = nn.ModuleList([nn.Sequential(nn.Linear(4, 4), nn.ReLU()) for _ in range(2)])
        self.head = nn.Linear(4, 8, bias=False)
        self.head.weight = self.tok.weight

    def forward(self, ids):
        x = self.tok(ids)
        for block in self.blocks:
            x = block(x)
        return self.head(x)


def test_names_are_dotted_paths_and_shared_parameters_come_once():
    names = [name for name, _ in Tied().named_parameters()]
    assert names == [
        "tok.weight",
        "blocks.0.0.weight",
        "blocks.0.0.bias",
        "blocks.1.0.weight",
        "blocks.1.0.bias",
    ]
    assert "head.weight" in Tied().state_dict()


def test_a_shared_parameter_is_one_variable():
    model = Tied()
    assert model(np.zeros((2, 3), np.int64)).shape == (2, 3, 8)
    model.tok.weight.copy_(np.eye(8, 4))
    assert np.array_equal(model.head.weight.numpy(), np.eye(8, 4))


def test_initial_numbers_depend_on_seed_and_path_alone():
    a, b = MLP(), MLP()
    _ = b.down.weight.numpy()
    assert np.array_equal(a.up.weight.numpy(), b.up.weight.numpy())
    assert not np.array_equal(MLP(16, 16, 16).up.weight.numpy(), MLP(16, 16, 16).down.weight.numpy())
    tr.manual_seed(1)
    assert not np.array_equal(MLP().up.weight.numpy(), a.up.weight.numpy())


def test_layers_start_as_in_pytorch():
    weight = nn.Linear(100, 2000).weight.numpy()
    assert abs(weight).max() <= 0.1 and abs(weight.std() - 0.1 / 3**0.5) < 1e-3
    assert abs(nn.Embedding(500, 200).weight.numpy().std() - 1) < 0.01
    norm = nn.LayerNorm(5)
    assert norm.weight.numpy().tolist() == [1] * 5 and norm.bias.numpy().tolist() == [0] * 5


def test_lists_of_modules_are_indexed_and_sliced():
    layers = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2))
    x = np.ones((1, 3), np.float32)
    assert np.allclose(layers[1:](layers[0](x)), layers(x), atol=1e-6)
    assert isinstance(nn.ModuleList(layers)[:2], nn.ModuleList) and len(layers) == 3


def test_a_state_dict_goes_there_and_back():
    a, b = MLP(), MLP()
    a.up.weight.copy_(np.full((16, 12), 0.5))
    b.load_state_dict(a.state_dict())
    assert np.array_equal(b.up.weight.numpy(), np.full((16, 12), 0.5, np.float32))


def test_a_strict_state_dict_lists_what_is_missing_and_unexpected():
    state = MLP().state_dict()
    state["extra"] = state.pop("up.bias")
    with pytest.raises(tr.PlanError, match="missing: up.bias; unexpected: extra"):
        MLP().load_state_dict(state)
    assert MLP().load_state_dict(state, strict=False) == (["up.bias"], ["extra"])


def test_a_state_dict_of_other_shapes_changes_nothing():
    model, state = MLP(), MLP().state_dict()
    before = model.down.bias.numpy().copy()
    state["down.bias"] = state["down.bias"] + 1
    state["up.weight"] = np.zeros((3, 3), np.float32)
    with pytest.raises(tr.PlanError, match=r"'up.weight' has shape \[3, 3\], the model has \[16, 12\]"):
        model.load_state_dict(state)
    assert np.array_equal(model.down.bias.numpy(), before)


def test_parameters_speak_numpy_and_dlpack():
    weight = MLP().up.weight
    assert np.array_equal(np.from_dlpack(weight), weight.numpy())
    assert np.asarray(weight).shape == (16, 12)


def test_a_module_called_with_arrays_computes_what_numpy_computes():
    model = nn.Sequential(nn.Linear(5, 7), nn.Tanh(), nn.Linear(7, 3))
    x = np.random.default_rng(0).standard_normal((4, 5)).astype(np.float32)
    w0, b0, w2, b2 = (p.numpy() for p in model.parameters())
    assert np.allclose(model(x), np.tanh(x @ w0.T + b0) @ w2.T + b2, atol=1e-6)
    assert model(x[:2]).shape == (2, 3)


def test_a_part_of_a_model_can_be_called_and_the_whole_after_it():
    model = MLP().eval()
    x = np.ones((2, 12), np.float32)
    hidden = model.up(x)
    assert np.allclose(model(x), model.down(F_gelu(hidden)), atol=1e-5)
    model.up.bias.copy_(np.ones(16))
    assert np.allclose(model.up(x), x @ model.up.weight.numpy().T + 1, atol=1e-6)


def F_gelu(x: np.ndarray) -> np.ndarray:
    return nn.GELU()(x)


def test_a_module_returns_tuples_lists_and_dicts_of_arrays():
    class Many(nn.Module):
        def forward(self, x, scale):
            return {"double": x * scale, "parts": list(x.chunk(2, 1)), "shape": x.shape}

    out = Many()(np.ones((2, 4), np.float32), 3.0)
    assert out["double"].tolist() == [[3.0] * 4] * 2
    assert [p.shape for p in out["parts"]] == [(2, 2), (2, 2)] and out["shape"] == (2, 4)


def test_dropout_is_off_in_eval_mode_and_scaled_in_training():
    layer = nn.Dropout(0.5)
    x = np.ones((200, 50), np.float32)
    y = layer(x)
    assert set(np.unique(y)) == {0.0, 2.0} and abs(y.mean() - 1) < 0.05
    assert np.array_equal(layer.eval()(x), x)


def test_train_eval_apply_and_requires_grad_reach_every_module():
    model = Tied()
    assert not any(m.training for m in model.eval().modules())
    seen = []
    model.apply(lambda m: seen.append(type(m).__name__))
    assert seen[-1] == "Tied" and seen.count("Linear") == 3
    assert not any(p.requires_grad for p in model.requires_grad_(False).parameters())


def test_functions_equal_numpy():
    class Apply(nn.Module):
        def __init__(self, function):
            super().__init__()
            self.function = function

        def forward(self, *xs):
            return self.function(*xs)

    def run(function, *arrays):
        return Apply(function)(*arrays)

    random = np.random.default_rng(0)
    x = random.standard_normal((3, 5)).astype(np.float32)
    y = random.standard_normal((3, 5)).astype(np.float32)
    labels = np.array([1, -100, 4])
    log_softmax = x - np.log(np.exp(x).sum(1, keepdims=True))
    rows = -log_softmax[[0, 2], [1, 4]]
    assert np.allclose(run(lambda a: F.softmax(a, 1), x), np.exp(log_softmax), atol=1e-6)
    assert np.allclose(run(F.cross_entropy, x, labels), rows.mean(), atol=1e-6)
    assert np.allclose(
        run(lambda a, b: F.cross_entropy(a, b, reduction="sum"), x, labels), rows.sum(), atol=1e-5
    )
    assert run(lambda a, b: F.cross_entropy(a, b, reduction="none"), x, labels)[1] == 0
    assert np.allclose(run(F.mse_loss, x, y), ((x - y) ** 2).mean(), atol=1e-6)
    assert np.allclose(run(lambda a, b: F.where(a > b, a, b), x, y), np.maximum(x, y))
    assert np.allclose(run(lambda a: a.clamp(-0.5, 0.5), x), x.clip(-0.5, 0.5))
    assert np.allclose(run(lambda a: a[1:, ::1].transpose(0, 1), x), x[1:].T)


def test_rms_norm_equals_the_formula_with_pytorchs_defaults():
    x = np.random.default_rng(0).standard_normal((3, 6)).astype(np.float32)
    root = np.sqrt((x**2).mean(1, keepdims=True))
    norm = nn.RMSNorm(6)
    norm.weight.copy_(np.arange(6))
    assert np.allclose(norm(x), x / root * np.arange(6), atol=1e-5)
    assert list(norm.state_dict()) == ["weight"] and nn.RMSNorm(6).weight.numpy().tolist() == [1] * 6
    plain = nn.RMSNorm((6,), eps=0.5, elementwise_affine=False)
    assert list(plain.parameters()) == []
    assert np.allclose(plain(x), x / np.sqrt(root**2 + 0.5), atol=1e-5)
    tiny = np.full((1, 6), 1e-5, np.float32)  # None is the float's own epsilon, not 0 and not layer norm's 1e-5
    assert np.allclose(nn.RMSNorm(6)(tiny), 1e-5 / np.sqrt(1e-10 + 2.0**-23), rtol=1e-5)
    with pytest.raises(tr.PlanError, match="the last dim is normalised"):
        nn.RMSNorm(5)(x)


def test_gated_units_equal_the_formula():
    class Gate(nn.Module):
        def forward(self, gate, up):
            return F.swiglu(gate, up)

    gate, up = np.random.default_rng(0).standard_normal((2, 3, 21)).astype(np.float32)
    expected = gate / (1 + np.exp(-gate))
    assert np.allclose(nn.SiLU()(gate), expected, atol=1e-6)
    assert np.allclose(Gate()(gate, up), expected * up, atol=1e-6)


def test_rotary_positions_turn_pairs_and_make_products_depend_on_distance():
    class Turn(nn.Module):
        def __init__(self, seq_dim):
            super().__init__()
            self.seq_dim = seq_dim

        def forward(self, x):
            return F.rope(x, theta=100.0, seq_dim=self.seq_dim)

    x = np.random.default_rng(0).standard_normal((2, 3, 9, 4)).astype(np.float32)
    angle = np.arange(9)[:, None] * 100.0 ** (-np.arange(2) / 2)
    pairs = (x[..., :2] + 1j * x[..., 2:]) * np.exp(1j * angle)
    expected = np.concatenate((pairs.real, pairs.imag), -1)
    assert np.allclose(Turn(2)(x), expected, atol=1e-6)
    assert np.allclose(Turn(1)(x.swapaxes(1, 2)), expected.swapaxes(1, 2), atol=1e-6)
    same = Turn(2)(np.broadcast_to(x[:1, :1, :1], (1, 1, 9, 4)))[0, 0]
    products = same @ same.T
    assert np.allclose(products[:-1, :-1], products[1:, 1:], atol=1e-5)


def test_attention_equals_the_formula_in_both_layouts():
    class Attend(nn.Module):
        def __init__(self, seq_dim):
            super().__init__()
            self.seq_dim = seq_dim

        def forward(self, q, k, v):
            return F.scaled_dot_product_attention(q, k, v, is_causal=True, seq_dim=self.seq_dim)

    q, k, v = np.random.default_rng(0).standard_normal((3, 2, 3, 6, 4)).astype(np.float32)
    scores = q @ k.swapaxes(-1, -2) / 2 + np.triu(np.full((6, 6), -np.inf), 1)
    weights = np.exp(scores - scores.max(-1, keepdims=True))
    expected = weights / weights.sum(-1, keepdims=True) @ v
    assert np.allclose(Attend(2)(q, k, v), expected, atol=1e-5)
    by_seq = [np.ascontiguousarray(t.swapaxes(1, 2)) for t in (q, k, v)]
    assert np.allclose(Attend(1)(*by_seq), expected.swapaxes(1, 2), atol=1e-5)


class Masked(nn.Module):
    def __init__(self, **options):
        super().__init__()
        self.options = options

    def forward(self, q, k, v, mask=None):
        return F.scaled_dot_product_attention(q, k, v, attn_mask=mask, **self.options)


def test_attention_sees_no_masked_key_and_gives_zeros_where_all_are_masked():
    q, k, v = np.random.default_rng(0).standard_normal((3, 3, 2, 6, 4)).astype(np.float32)
    mask = np.arange(6) < np.array([6, 4, 0])[:, None]
    k[~np.broadcast_to(mask[:, None], (3, 2, 6))] = 1e4  # what padding holds does not matter
    found = Masked()(q, k, v, mask[:, None, None])
    for row, length in enumerate((6, 4)):
        scores = np.exp(q[row] @ k[row, :, :length].swapaxes(-1, -2) / 2)
        expected = scores / scores.sum(-1, keepdims=True) @ v[row, :, :length]
        assert np.allclose(found[row], expected, atol=1e-5)
    assert not found[2].any()


@pytest.mark.parametrize("mask", [np.ones((3, 6), bool), np.zeros((3, 1, 1, 6), np.float32), np.ones((6, 6), bool)])
def test_attention_refuses_masks_other_than_of_keys(mask):
    q = np.zeros((3, 2, 6, 4), np.float32)
    with pytest.raises(tr.PlanError, match=r"mask is .* must be bool\[3,1,1,6\] \(\[batch,1,1,keys\], false for keys"):
        Masked()(q, q, q, mask)


@pytest.mark.parametrize("seq_dim", [1, 2])
def test_attention_with_dropout_is_attention_where_nothing_is_dropped(seq_dim):
    q, k, v = np.random.default_rng(0).standard_normal((3, 3, 6, 6, 4)).astype(np.float32)
    mask = (np.arange(6) < np.array([6, 4, 0])[:, None])[:, None, None]
    for masks in ((), (mask,)):
        stored = Masked(dropout_p=1e-12, seq_dim=seq_dim)(q, k, v, *masks)
        assert np.allclose(stored, Masked(seq_dim=seq_dim)(q, k, v, *masks), atol=1e-6)
    dropped = Masked(dropout_p=0.5)(q, k, np.ones_like(v), mask)
    assert abs(dropped[:2].mean() - 1) < 0.1 and dropped[:2].std() > 0.1 and not dropped[2].any()
    with pytest.raises(tr.PlanError, match="goes neither with is_causal nor with fewer heads"):
        Masked(dropout_p=0.5, is_causal=True)(q, k, v)


@pytest.mark.parametrize("dim", [0, 1, -1])
def test_normalize_divides_by_the_length_along_a_dim(dim):
    class Normalize(nn.Module):
        def forward(self, x):
            return F.normalize(x, dim=dim)

    x = np.random.default_rng(0).standard_normal((3, 4, 5)).astype(np.float32)
    x[:, 0] = x[..., 0] = 0
    length = np.maximum(np.linalg.norm(x, axis=dim, keepdims=True), 1e-12)
    assert np.allclose(Normalize()(x), x / length, atol=1e-6)


def test_a_parameter_can_begin_as_another_one():
    model = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4), nn.Linear(3, 4))
    nn.init.normal_(model[0].weight, std=0.5)
    nn.init.like_(model[1].weight, model[0].weight)
    assert np.array_equal(model[1].weight.numpy(), model[0].weight.numpy())
    with pytest.raises(tr.PlanError, match=r"f32\[4, 3\] cannot begin as one that is f32\[4, 4\]"):
        nn.init.like_(model[2].weight, model[0].weight)
