"""Safetensors files as checkpoints are published: one, or several with an index."""

import json

import numpy as np
import pytest
from safetensors.numpy import save_file

import troupe as tr

A, C = np.arange(6, dtype=np.float32).reshape(2, 3), np.arange(4, dtype=np.int64)


def write_index(path, files):
    (path / "model.safetensors.index.json").write_text(json.dumps({"metadata": {}, "weight_map": files}))


def test_a_file_and_a_directory_with_one_file_give_its_tensors(tmp_path):
    save_file({"a": A, "c": C}, tmp_path / "model.safetensors")
    for path in (tmp_path, tmp_path / "model.safetensors", str(tmp_path)):
        found = tr.load_tensors(path)
        assert found.keys() == {"a", "c"} and found["c"].dtype == np.int64
        assert np.array_equal(found["a"], A) and np.array_equal(found["c"], C)


def test_an_index_names_the_files(tmp_path):
    save_file({"a": A}, tmp_path / "one.safetensors")
    save_file({"c": C}, tmp_path / "two.safetensors")
    save_file({"other": C}, tmp_path / "three.safetensors")
    write_index(tmp_path, {"a": "one.safetensors", "c": "two.safetensors"})
    found = tr.load_tensors(tmp_path)
    assert found.keys() == {"a", "c"} and np.array_equal(found["a"], A) and np.array_equal(found["c"], C)


def test_bfloat16_becomes_float32(tmp_path):
    header = json.dumps({"a": {"dtype": "BF16", "shape": [2, 3], "data_offsets": [0, 12]}}).encode()
    numbers = (A.view(np.uint32) >> 16).astype("<u2")  # these have no more bits than bfloat16 has
    (tmp_path / "a.safetensors").write_bytes(len(header).to_bytes(8, "little") + header + numbers.tobytes())
    found = tr.load_tensors(tmp_path / "a.safetensors")["a"]
    assert found.dtype == np.float32 and np.array_equal(found, A)


def test_what_is_not_there_is_named(tmp_path):
    with pytest.raises(tr.FaultError, match="model.safetensors"):
        tr.load_tensors(tmp_path)
    save_file({"a": A}, tmp_path / "one.safetensors")
    write_index(tmp_path, {"a": "one.safetensors", "c": "one.safetensors"})
    with pytest.raises(tr.FaultError, match="index.json' says that tensor 'c' is in 'one.safetensors', but it is not"):
        tr.load_tensors(tmp_path)
    write_index(tmp_path, {"a": "two.safetensors"})
    with pytest.raises(tr.FaultError, match="two.safetensors"):
        tr.load_tensors(tmp_path)
    (tmp_path / "model.safetensors.index.json").write_text("[]")
    with pytest.raises(tr.FaultError, match="index.json' is no index of safetensors files"):
        tr.load_tensors(tmp_path)
