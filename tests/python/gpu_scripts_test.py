"""tests/gpu/bench.sh where nothing can be measured: it says why."""

from __future__ import annotations

import subprocess

from conftest import ROOT


def test_the_script_says_what_models_there_are():
    for arguments in ([], ["gpt5"], ["--quick", "moe"]):
        done = subprocess.run(["bash", ROOT / "tests/gpu/bench.sh", *arguments], capture_output=True, text=True, timeout=60)
        assert done.returncode == 2 and "gpt2-124m | gpt2-1.5b" in done.stderr


def test_the_script_ends_well_where_nothing_can_be_measured(tmp_path):
    def say(path: str) -> str:
        environment = {"PATH": path, "CUDA_HOME": "", "OUT": str(tmp_path / "out")}
        done = subprocess.run(
            ["/bin/bash", ROOT / "tests/gpu/bench.sh", "moe"], capture_output=True, text=True, timeout=60, env=environment
        )
        assert done.returncode == 0, done.stderr
        return done.stdout + done.stderr

    tools = tmp_path / "tools"
    tools.mkdir()
    (tools / "nvcc").write_text("#!/bin/sh\n")
    (tools / "nvcc").chmod(0o755)
    assert "skipped: there is no GPU: nvidia-smi shows none" in say(f"{tools}:/usr/bin:/bin")
    (tools / "nvidia-smi").write_text("#!/bin/sh\necho 9.0\n")
    (tools / "python3").write_text("#!/bin/sh\necho lacks torch\nexit 1\n")
    for name in ("nvidia-smi", "python3", "python", "python3.11"):
        if not (tools / name).exists():
            (tools / name).symlink_to("python3")
        (tools / name).chmod(0o755)
    said = say(f"{tools}:/usr/bin:/bin")
    assert f"{tools}/python3: lacks torch" in said and "skipped: there is no Python to measure with" in said
