"""What the tests of the Python package share."""

from __future__ import annotations

import ctypes
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest

import troupe as tr
from troupe import cuda, nn
from troupe import functional as F

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "models" / "gpt"))
sys.path.append(str(ROOT))  # for models.llama


@pytest.fixture(autouse=True)
def _seed():
    """Every test begins with the seed 0."""
    tr.manual_seed(0)


class MLP(nn.Module):
    """Two layers with a GELU between."""

    def __init__(self, inputs: int = 12, hidden: int = 16, outputs: int = 4, dropout: float = 0.0):
        super().__init__()
        self.up = nn.Linear(inputs, hidden)
        self.down = nn.Linear(hidden, outputs)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x):
        return self.down(self.dropout(F.gelu(self.up(x))))


def classify(model, batch):
    """Cross-entropy of the model's logits."""
    return F.cross_entropy(model(batch["x"]), batch["y"])


def examples(rows: int, seed: int = 0, inputs: int = 12, classes: int = 4) -> dict[str, np.ndarray]:
    """Random inputs with labels that can be learnt."""
    random = np.random.default_rng(seed)
    x = random.standard_normal((rows, inputs)).astype(np.float32)
    return {"x": x, "y": (x[:, :classes].argmax(1)).astype(np.int64)}


def make_step(mesh: tr.mesh = None, model: nn.Module | None = None, **options) -> tr.TrainStep:
    """A training step of an MLP."""
    model = MLP() if model is None else model
    options = {"optimizer": tr.optim.AdamW(model.parameters(), lr=1e-2), "loss": classify, **options}
    return tr.TrainStep(model, mesh=mesh, **options)


@pytest.fixture
def trace():
    """An open trace of an empty model."""
    from troupe.trace import Trace

    opened = Trace(nn.Module())
    with opened.recording():
        yield opened


@pytest.fixture
def script(tmp_path):
    """Writes a script, and gives its path."""

    def write(text: str) -> str:
        (tmp_path / "script.py").write_text(textwrap.dedent(text))
        return str(tmp_path / "script.py")

    return write


@pytest.fixture
def start(tmp_path):
    """Starts launchers with stand-ins, and kills those that a failed test leaves."""
    from launched import Launched

    launched = []

    def start_one(script: str, **options) -> Launched:
        launched.append(Launched(tmp_path, script, **options))
        return launched[-1]

    yield start_one
    for one in launched:
        with one.process:
            one.process.kill()


@pytest.fixture
def devices(monkeypatch):
    """Sets up CUDA devices on a simulated runtime that needs no GPU: how many, of how many bytes, with a driver for which
    version of CUDA (0: none), and whether cuBLASLt is there. `devices.calls` says how often a CUDA function has been called
    since."""
    library = ROOT / "build" / "libtroupe_cuda_simulated.so"
    if not library.exists():
        pytest.skip("the simulated CUDA runtime is built with the C++ tests")
    monkeypatch.setenv(cuda.LIBRARY, str(library))
    control = ctypes.CDLL(str(library))
    setup = control.troupe_simulated_cuda_setup
    setup.argtypes = [ctypes.c_int, ctypes.c_int64, ctypes.c_int, ctypes.c_bool]

    def make(count: int = 1, memory: int = 64 << 20, driver: int = 13000, cublas_lt: bool = False) -> None:
        cuda.backend.cache_clear()
        setup(count, memory, driver, cublas_lt)

    def calls(function: str) -> int:
        return count_calls(function.encode())

    count_calls = control.troupe_simulated_cuda_calls
    count_calls.argtypes, count_calls.restype = [ctypes.c_char_p], ctypes.c_int64
    make.calls = calls
    make()
    yield make
    control.troupe_simulated_cuda_end()
    cuda.backend.cache_clear()
