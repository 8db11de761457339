"""Tensors while a model is traced: shapes, dtypes, names and what they refuse."""

import numpy as np
import pytest

import troupe as tr
from troupe import functional as F


@pytest.fixture
def x(trace):
    return trace.source("x", "f32", (8, 6, 4))


def test_operators_broadcast_like_numpy(trace, x):
    row = trace.source("row", "f32", (4,))
    for y in (x + row, row - x, x * 2, 2 - x, x / row, 1 / x, -x, x**2, x**0.5):
        assert y.shape == (8, 6, 4) and y.dtype == "f32"
    assert (x @ x.transpose(1, 2)).shape == (8, 6, 6)
    assert (x > 0).dtype == "bool" and (x == x).dtype == "bool"


def test_shapes_change_as_in_pytorch(x):
    assert x.reshape(8, -1).shape == (8, 24)
    assert x.view((48, 4)).shape == (48, 4)
    assert x.flatten(1).shape == (8, 24)
    assert x.permute(2, 0, 1).shape == (4, 8, 6)
    assert x.transpose(0, -1).shape == (4, 6, 8)
    assert x.unsqueeze(-1).shape == (8, 6, 4, 1)
    assert x.unsqueeze(0).squeeze(0).shape == (8, 6, 4)
    assert [part.shape for part in x.chunk(3, dim=1)] == [(8, 2, 4)] * 3
    assert [part.shape for part in x.split(4, dim=1)] == [(8, 4, 4), (8, 2, 4)]
    assert F.cat([x, x], dim=-1).shape == (8, 6, 8)
    assert F.stack([x, x]).shape == (2, 8, 6, 4)


def test_indexing_takes_numbers_slices_none_and_ellipsis(x):
    assert x[0].shape == (6, 4)
    assert x[:, -1].shape == (8, 4)
    assert x[..., 1:3].shape == (8, 6, 2)
    assert x[:, None, 2:].shape == (8, 1, 4, 4)
    assert x[:].shape == x.shape
    with pytest.raises(tr.PlanError, match="a step of 2"):
        x[:, ::2]
    with pytest.raises(tr.PlanError, match="no element 9 in dim 0"):
        x[9]


def test_reductions_take_dims_and_keepdim(x):
    assert x.sum().shape == () and x.mean().shape == ()
    assert x.sum(1).shape == (8, 4)
    assert x.mean((0, 1), keepdim=True).shape == (1, 1, 4)
    assert x.amax(-1).shape == (8, 6)
    with pytest.raises(tr.PlanError, match="no dim 3"):
        x.sum(3)


def test_integer_tensors_add_numbers_of_their_dtype(trace):
    ids = trace.source("ids", "i64", (3,))
    assert (ids + 1).dtype == "i64"
    with pytest.raises(tr.PlanError, match=r"i64\[3\] is no floating point tensor"):
        ids.mean()


@pytest.mark.parametrize(
    "use",
    [
        bool,
        float,
        int,
        np.asarray,
        lambda t: t.item(),
        lambda t: t.numpy(),
        lambda t: t.tolist(),
        lambda t: 1 if t > 0 else 2,
    ],
)
def test_what_needs_numbers_names_the_line_and_the_alternative(x, use):
    with pytest.raises(
        tr.PlanError, match=r"no numbers while the model is traced; .* \(tensor_test.py:\d+\)"
    ):
        use(x.sum())


def test_printing_shows_name_shape_dtype_and_pins(x):
    y = tr.pin(x * 2, dp=tr.S(0))
    assert repr(y) == "Tensor(mul_scalar: f32[8,6,4], dp=S(0))"


def test_the_error_of_an_op_ends_with_the_users_line(trace, x):
    weight = trace.source("w", "f32", (5, 3), batched=False)
    with pytest.raises(tr.PlanError, match=r"linear.*inner dims differ.*\(tensor_test.py:\d+\)"):
        F.linear(x, weight)


def test_tensors_and_functions_belong_to_a_trace(x):
    from troupe import nn
    from troupe.trace import Trace

    with Trace(nn.Module()).recording(), pytest.raises(tr.PlanError, match="a tensor of another trace"):
        x + 1
    with pytest.raises(tr.PlanError, match="NumPy array of shape .* stands among tensors"):
        F.maximum(x, np.zeros((4,), np.float32))


def test_functions_need_an_open_trace():
    with pytest.raises(tr.PlanError, match="tensors exist only while a model is traced"):
        F.zeros(3)


def test_every_op_is_a_function_with_its_formula():
    assert "softmax" in dir(tr.ops)
    assert tr.ops.matmul.__doc__.startswith("matmul(a, b) -> y")
    with pytest.raises(AttributeError):
        tr.ops.no_such_op
