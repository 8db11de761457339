"""The command `troupe`, and modules compiled for a mesh."""

import numpy as np
import pytest
from conftest import MLP, examples, make_step

import troupe as tr
from troupe.__main__ import main


def test_help_lists_the_commands(capsys):
    with pytest.raises(SystemExit):
        main(["--help"])
    shown = capsys.readouterr().out
    assert all(command in shown for command in ("env", "plan", "precision", "checkpoint", "status", "launch"))


def test_env_shows_what_was_found(capsys):
    assert main(["env"]) == 0
    assert "cpu devices" in capsys.readouterr().out


def test_a_checkpoint_is_listed(tmp_path, capsys):
    step = make_step()
    step(examples(8))
    step.save(tmp_path / "saved")
    assert main(["checkpoint", str(tmp_path / "saved")]) == 0
    shown = capsys.readouterr().out
    assert "step 1" in shown and "up.weight" in shown and "optimizer.m.up.weight" in shown
    assert main(["checkpoint", str(tmp_path)]) == 1


def test_precision_lists_what_ops_compute_on(capsys):
    assert main(["precision", "f16"]) == 0
    shown = capsys.readouterr().out
    assert shown == tr.precision_table("f16") + "\n"
    assert main(["precision"]) == 0
    assert capsys.readouterr().out == shown.replace("f16", "bf16")
    assert main(["precision", "f8"]) == 1
    assert "'bf16' and 'f16' have" in capsys.readouterr().err


def test_a_file_that_is_no_plan(tmp_path, capsys):
    (tmp_path / "x").write_bytes(b"not a plan")
    assert main(["plan", str(tmp_path / "x")]) == 1
    assert "cannot be read" in capsys.readouterr().err


@pytest.mark.parametrize("axes", [{}, {"dp": 2}, {"dp": 2, "tp": 2}])
def test_a_compiled_module_computes_what_a_called_one_does(axes):
    x = examples(8)["x"]
    expected = MLP()(x)
    compiled = tr.compile(
        MLP(), x, mesh=tr.mesh("cpu", **axes), recipe=tr.recipes.data_parallel() + tr.recipes.megatron()
    )
    assert np.allclose(compiled(x), expected, atol=1e-6)
    assert f"{max(1, np.prod(list(axes.values())))} device" in compiled.plan.summary()
    with pytest.raises(tr.PlanError, match=r"compiled for float32\[8, 12\], called with float32\[4, 12\]"):
        compiled(x[:4])
