"""Data: what a step's batch holds depends on the seed, the step and the row alone."""

import re

import numpy as np
import pytest

import troupe as tr
from troupe.data.source import IterableData


def test_every_pass_over_arrays_has_every_row_once_in_an_order_of_its_own():
    data = tr.data.arrays(x=np.arange(12), batch=4, seed=3)
    passes = [
        np.concatenate([data.batch_at(step)["x"] for step in range(p * 3, p * 3 + 3)]) for p in range(2)
    ]
    assert sorted(passes[0]) == sorted(passes[1]) == list(range(12))
    assert passes[0].tolist() != passes[1].tolist()


def test_the_order_depends_on_the_seed_alone():
    def order(seed):
        return [tr.data.arrays(x=np.arange(10), batch=5, seed=seed).batch_at(s)["x"].tolist() for s in (4, 0)]

    assert order(1) == order(1) and order(1) != order(2)


def test_arrays_are_evaluated_in_order_with_a_short_last_batch():
    data = tr.data.arrays(x=np.arange(10), batch=4)
    assert [batch["x"].tolist() for batch in data] == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9]]


def test_arrays_of_different_rows_are_refused():
    with pytest.raises(tr.PlanError, match="'x' has 3, 'y' has 4"):
        tr.data.arrays(x=np.zeros(3), y=np.zeros(4), batch=2)
    with pytest.raises(tr.PlanError, match="a batch of 9 rows cannot be taken from arrays of 3 rows"):
        tr.data.arrays(x=np.zeros(3), batch=9)


NO_COUNTS = [0, -1, "8", 1.5, 2.0, True, None, np.float32(2), 2**63]
NO_SEEDS = [-1, 1.5, "3", True, None, np.int64(-4), 2**64]


@pytest.mark.parametrize(
    "name, value, right",
    [
        *(("batch", value, r"a whole number from 1 to 2\*\*63 - 1") for value in NO_COUNTS),
        *(("seed", value, r"a whole number from 0 to 2\*\*64 - 1") for value in NO_SEEDS),
        *(("shuffle", value, "True or False") for value in ("yes", 1, None)),
    ],
)
def test_what_says_how_arrays_are_cut_is_checked(name, value, right):
    with pytest.raises(tr.PlanError, match=f"^arrays: {name}={re.escape(repr(value))} must be {right}$"):
        tr.data.arrays(**{"x": np.zeros(8), "batch": 2, name: value})


def test_numbers_of_numpy_say_how_data_is_cut(tmp_path):
    given = tr.data.arrays(x=np.arange(8), batch=np.int32(2), seed=np.uint64(2**64 - 1), shuffle=np.bool_(True))
    same = tr.data.arrays(x=np.arange(8), batch=2, seed=2**64 - 1)
    assert np.array_equal(given.batch_at(1)["x"], same.batch_at(1)["x"]) and given.batch_rows == 2
    in_order = tr.data.arrays(x=np.arange(8), batch=2, shuffle=np.bool_(False))
    assert in_order.batch_at(1)["x"].tolist() == [2, 3]
    (tmp_path / "t.bin").write_bytes(bytes(range(200)))
    numbers = {"seq": np.int64(4), "batch": np.int8(2), "seed": np.uint32(7)}
    plain = {name: int(value) for name, value in numbers.items()}
    given, same = (tr.data.tokens(tmp_path / "t.bin", **each).batch_at(3)["x"] for each in (numbers, plain))
    assert np.array_equal(given, same)


@pytest.mark.parametrize("name, values", [("seq", NO_COUNTS), ("batch", NO_COUNTS), ("seed", NO_SEEDS)])
def test_what_says_how_tokens_are_cut_is_checked(tmp_path, name, values):
    (tmp_path / "t.bin").write_bytes(bytes(range(200)))
    for value in values:
        with pytest.raises(tr.PlanError, match=f"^tokens: {name}={re.escape(repr(value))} must be a whole number from"):
            tr.data.tokens(tmp_path / "t.bin", **{"seq": 4, "batch": 2, name: value})


def test_an_iterable_is_begun_again_and_skipped_on_resume():
    batches = [{"x": np.full((2, 1), i, np.float32)} for i in range(3)]
    data = IterableData(batches)
    assert [float(data.batch_at(step)["x"][0, 0]) for step in range(5)] == [0, 1, 2, 0, 1]
    resumed = IterableData(batches)
    assert float(resumed.batch_at(4)["x"][0, 0]) == 1
    with pytest.raises(tr.PlanError, match="has passed step 0"):
        resumed.batch_at(0)


def test_an_iterator_ends():
    data = IterableData({"x": np.zeros((1, 1))} for _ in range(2))
    assert data.batch_at(1) is not None and data.batch_at(2) is None


def test_tokens_come_in_windows_one_apart(tmp_path):
    (tmp_path / "a.bin").write_bytes(bytes(range(100)))
    (tmp_path / "b.bin").write_bytes(bytes(range(100, 200)))
    data = tr.data.tokens(tmp_path / "*.bin", seq=8, batch=3)
    assert len(data) == 200 and data.tokens(98, 4).tolist() == [98, 99, 100, 101]
    batches = list(data)
    for batch in batches:
        assert np.array_equal(batch["y"], batch["x"] + 1) and batch["x"].dtype == np.int32
    assert batches[0]["x"][1].tolist() == list(range(8, 16))
    assert sum(len(batch["x"]) for batch in batches) == 199 // 8


def test_a_part_of_the_tokens(tmp_path):
    path = tmp_path / "t.bin"
    path.write_bytes(bytes(range(200)))
    train = tr.data.tokens(path, seq=4, batch=1, part=(0.0, 0.9))
    held_out = tr.data.tokens(path, seq=4, batch=1, part=(0.9, 1.0))
    assert len(train) == 180 and held_out.tokens().tolist() == list(range(180, 200))
    with pytest.raises(tr.PlanError, match="two rising numbers"):
        tr.data.tokens(path, seq=4, batch=1, part=(0.5, 0.5))


def test_missing_files_and_too_few_tokens(tmp_path):
    with pytest.raises(tr.FaultError, match="no file matches"):
        tr.data.tokens(str(tmp_path / "*.txt"), seq=4, batch=1)
    with pytest.raises(tr.FaultError, match="missing.bin"):
        tr.data.tokens(tmp_path / "missing.bin", seq=4, batch=1)
    (tmp_path / "short.bin").write_bytes(b"abc")
    with pytest.raises(tr.PlanError):
        tr.data.tokens(tmp_path / "short.bin", seq=4, batch=1)
