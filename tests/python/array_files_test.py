"""Arrays in files: the bits of the same arrays in memory, for any number of processes, each of which reads its rows."""

from __future__ import annotations

import os
import re
import resource
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import troupe as tr
from troupe import functional as F
from troupe import nn

SCRIPT = str(Path(__file__).parent / "over_files.py")
DEADLINE_S = 90.0  # far more than anything here takes
ROWS, DIM = 50, 4096  # no whole number of batches in a pass
ROW_BYTES = DIM * 4
BATCH, STEPS = 12, 7  # of the script


@pytest.fixture
def folder(tmp_path):
    random = np.random.default_rng(0)
    images = random.standard_normal((ROWS, DIM)).astype(np.float32)
    np.save(tmp_path / "images-0.npy", images[:20])
    np.save(tmp_path / "images-1.npy", images[20:])
    np.save(tmp_path / "labels.npy", random.integers(0, 5, ROWS))
    return tmp_path


def run(kind: str, mesh: str, folder: Path, recipe: str, *more: str, launch: tuple[str, ...] = ()):
    command = [sys.executable, "-m", "troupe", "launch", *launch, "--"] if launch else [sys.executable]
    return subprocess.run(
        [*command, SCRIPT, kind, mesh, str(folder), recipe, *more],
        capture_output=True,
        text=True,
        timeout=DEADLINE_S,
        env={**os.environ, "TROUPE_HEARTBEAT_S": "5"},
        check=False,
    )


def outcome(*arguments, **options) -> tuple[str, int]:
    """What a run prints, and how many bytes its script's process has read in training."""
    ended = run(*arguments, **options)
    assert ended.returncode == 0, ended.stderr
    assert "weights" in ended.stdout
    return ended.stdout, int(re.search(r"^read (\d+)$", ended.stderr, re.MULTILINE)[1])


@pytest.mark.parametrize("mesh, recipe, launch", [
    ("dp=3", "data_parallel", ("-n", "3")),  # four shards on three devices
    ("dp=2,tp=2", "zero1", ("-n", "2", "--devices", "cpu=2")),  # the columns of the images are split too
])  # fmt: skip
def test_rows_of_files_have_the_bits_of_arrays_in_memory_and_are_read_by_who_needs_them(
    folder, mesh, recipe, launch
):
    expected, _ = outcome("memory", mesh, folder, recipe)
    alone, read_alone = outcome("files", mesh, folder, recipe)
    several, read_by_driver = outcome("files", mesh, folder, recipe, launch=launch)
    mixed, _ = outcome("mixed", mesh, folder, recipe, launch=launch)
    assert alone == several == mixed == expected
    assert read_alone >= STEPS * BATCH * ROW_BYTES
    assert read_by_driver < BATCH * ROW_BYTES  # not even a batch


@pytest.mark.parametrize("launch", [(), ("-n", "2")])
def test_a_file_that_is_cut_short_in_training_is_named(folder, launch):
    ended = run("files", "dp=2", folder, "data_parallel", "truncate", launch=launch)
    assert ended.returncode == 1, ended.stderr
    assert re.search(
        r"FaultError: .*array file '\S+/images-\d\.npy' cannot be read: bytes \d+ to \d+ are not there; it had "
        r"\d+ bytes when it was opened and has become shorter",
        ended.stderr,
    ), ended.stderr


def test_a_file_that_workers_do_not_find_is_named_and_open_ones_stay(folder):
    ended = run("files", "dp=2", folder, "data_parallel", "remove", launch=("-n", "2"))
    assert ended.returncode == 1
    missing = r"FaultError: .*array file '\S+/images-0.npy' cannot be read: No such file or directory"
    assert re.search(missing, ended.stderr), ended.stderr
    np.save(folder / "images-0.npy", np.zeros((ROWS, DIM), np.float32))
    outcome("files", "dp=2", folder, "data_parallel", "remove")  # whoever reads has it open already


@pytest.mark.parametrize("dtype", ["f4", "f8", "i4", "i8", "u1", "?", "f2"])
@pytest.mark.parametrize("shuffle", [True, False])
def test_batches_have_the_bits_of_arrays_in_memory(tmp_path, dtype, shuffle):
    values = np.random.default_rng(1).integers(0, 200, (23, 3, 2)).astype(dtype)
    paths = [tmp_path / "a.npy", tmp_path / "b.npy", tmp_path / "c.npy"]
    for path, part in zip(paths, np.split(values, [5, 6])):
        np.save(path, part)
    in_memory = tr.data.arrays(x=values, batch=5, shuffle=shuffle, seed=4)
    for given in (paths, str(tmp_path / "*.npy"), [str(paths[0]), tmp_path / "[bc].npy"]):
        in_files = tr.data.arrays(x=given, batch=5, shuffle=shuffle, seed=4)
        assert in_files.fields == in_memory.fields
        for step in (0, 1, 3, 4, 9, 2):
            found, expected = in_files.batch_at(step)["x"], in_memory.batch_at(step)["x"]
            assert found.dtype == expected.dtype and found.tobytes() == expected.tobytes()
        for found, expected in zip(in_files, in_memory, strict=True):
            assert found["x"].dtype == expected["x"].dtype and np.array_equal(found["x"], expected["x"])


def test_evaluation_reads_a_batch_at_a_time(tmp_path):
    np.save(tmp_path / "x.npy", np.arange(12))
    batches = iter(tr.data.arrays(x=tmp_path / "x.npy", batch=4))
    assert next(batches)["x"].tolist() == [0, 1, 2, 3]
    os.truncate(tmp_path / "x.npy", os.path.getsize(tmp_path / "x.npy") - 8)
    assert next(batches)["x"].tolist() == [4, 5, 6, 7]
    with pytest.raises(tr.FaultError, match=r"array file '\S+/x.npy' cannot be read: bytes"):
        next(batches)


def losses(folder: Path, steps: int, **options) -> dict[int, float]:
    model = nn.Linear(DIM, 5)
    step = tr.TrainStep(
        model,
        loss=lambda m, b: F.cross_entropy(m(b["x"]), b["y"]),
        optimizer=tr.optim.SGD(model.parameters(), lr=0.01),
        mesh=tr.mesh("cpu", dp=2),
    )
    data = tr.data.arrays(x=folder / "images-*.npy", y=folder / "labels.npy", batch=20)
    with step:
        return {m.step: m.loss for m in tr.train(step, data, steps=steps, **options)}


def test_a_resumed_run_reads_the_same_rows(folder, tmp_path):
    expected = losses(folder, 7)
    keeping = {"checkpoint": tmp_path / "run", "every": 1}
    first = losses(folder, 3, **keeping)  # in the middle of the second pass
    again = losses(folder, 7, resume=True, **keeping)
    assert {**first, **again} == expected and 0 not in again


def test_files_that_cannot_be_read_are_named(tmp_path):
    def save(name: str, array: np.ndarray) -> Path:
        np.save(tmp_path / name, array)
        return tmp_path / name

    x = save("x.npy", np.zeros((6, 2), np.float32))
    with pytest.raises(tr.PlanError, match="'x' has 6, 'y' has 4"):
        tr.data.arrays(x=x, y=save("y.npy", np.zeros(4)), batch=2)
    with pytest.raises(tr.PlanError, match="'x' has 6, 'y' has 4"):
        tr.data.arrays(x=x, y=np.zeros(4), batch=2)
    with pytest.raises(tr.PlanError, match="a batch of 9 rows cannot be taken from arrays of 6 rows"):
        tr.data.arrays(x=x, batch=9)
    with pytest.raises(tr.FaultError, match="no file matches"):
        tr.data.arrays(x=tmp_path / "*.txt", batch=1)
    with pytest.raises(tr.FaultError, match="none.npy' cannot be read: No such file"):
        tr.data.arrays(x="none.npy", batch=1)
    columns = save("columns.npy", np.asfortranarray(np.zeros((3, 2))))
    with pytest.raises(tr.FaultError, match="columns.npy' cannot be read: .*write np.ascontiguousarray"):
        tr.data.arrays(x=columns, batch=1)
    with pytest.raises(tr.FaultError, match="'>f4', big-endian; write array.astype"):
        tr.data.arrays(x=save("big.npy", np.zeros(3, ">f4")), batch=1)
    with pytest.raises(tr.FaultError, match="its element type '<u2' do not exist; the types are f32, "):
        tr.data.arrays(x=save("u2.npy", np.zeros(3, np.uint16)), batch=1)
    np.savez(tmp_path / "all.npz", x=np.zeros(3))
    with pytest.raises(tr.FaultError, match="is an archive"):
        tr.data.arrays(x=tmp_path / "all.npz", batch=1)


def test_more_files_are_read_than_may_be_open(tmp_path):
    values = np.arange(600, dtype=np.int64)
    for number, part in enumerate(np.split(values, 300)):
        np.save(tmp_path / f"{number:03}.npy", part)
        (tmp_path / f"{number:03}.bin").write_bytes(part.astype(np.uint16).tobytes())
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (len(os.listdir("/proc/self/fd")) + 280, hard))
    try:
        arrays = tr.data.arrays(x=tmp_path / "*.npy", batch=100)
        tokens = tr.data.tokens(tmp_path / "*.bin", seq=5, batch=4, dtype="u16")
        for _ in range(2):
            read = np.concatenate([arrays.batch_at(step)["x"] for step in range(6)])
            assert np.array_equal(np.sort(read), values)
            assert np.array_equal(tokens.tokens(), values)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
