"""The layers hold: every #include of the tree is an edge of tests/layers.toml, third-party libraries stay behind their
fences, and Python in models/ sees the public package only."""

import ast
import fnmatch
import graphlib
import os
import re
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
TABLE = tomllib.loads((ROOT / "tests" / "layers.toml").read_text())
CPP = (".h", ".cpp", ".cu", ".cuh", ".inc")


def source_files(root: Path, suffixes: tuple[str, ...]) -> list[str]:
    """Files of the tree, relative to root; not what is built or hidden."""
    found = []
    for folder, folders, names in os.walk(root):
        top = Path(folder) == root
        folders[:] = sorted(
            f for f in folders if not f.startswith(".") and f != "__pycache__" and not (top and f.startswith("build"))
        )
        found += [str((Path(folder) / n).relative_to(root)) for n in sorted(names) if n.endswith(suffixes)]
    return found


def folder_of(path: str, table: dict) -> str | None:
    """The row of the table a file belongs to: the longest folder that holds it."""
    rows = [row for row in table["may_include"] if path.startswith(row + "/")]
    return max(rows, key=len, default=None)


def matches(path: str, patterns: list[str]) -> bool:
    """Whether a pattern fits. Without a slash it is one for the file's name; `folder/*` holds all below the folder."""
    for pattern in patterns:
        if "/" in pattern and not pattern.endswith("/*"):
            if fnmatch.fnmatchcase(path, pattern) and path.count("/") == pattern.count("/"):
                return True
        elif fnmatch.fnmatchcase(path if "/" in pattern else path.split("/")[-1], pattern):
            return True
    return False


def is_test(path: str, table: dict) -> bool:
    return path.endswith("_test.cpp") or path.startswith("tests/") or matches(path, table["tests"]["headers"])


def without_comments_and_strings(text: str) -> str:
    token = re.compile(r'//[^\n]*|/\*.*?\*/|R"\((?:.|\n)*?\)"|"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])*\'', re.DOTALL)
    return token.sub(lambda m: "\n" * m.group().count("\n") if m.group()[0] == "/" else '""', text)


def include_problem(path: str, header: str, quoted: bool, root: Path, table: dict) -> str | None:
    """Why this file may not include this header, or None."""
    folder = folder_of(path, table)
    for name, library in table["library"].items():
        if any(fnmatch.fnmatchcase(header, p) for p in library["headers"]):
            return None if matches(path, library["files"]) else f"includes {header}, but {name} is fenced"
    if folder in table["pure"]["folders"] and header in table["pure"]["refused"] and not is_test(path, table):
        return f"includes <{header}>, but {folder} is pure"
    if quoted:
        target = folder_of(header, table)
        if matches(header, table["tests"]["headers"]) and not is_test(path, table):
            return f'includes "{header}", which is for tests'
        if target is None:
            return f'includes "{header}", which is in no folder of the table (paths start at the root)'
        if target == folder or target in table["may_include"][folder] or header in table["may_include"][folder]:
            return None
        return f'includes "{header}": {folder} may not include {target}'
    if "/" not in header and "." not in header:
        return None  # the C++ library
    if any(fnmatch.fnmatchcase(header, p) for p in table["system"]["headers"]):
        return None
    return f"includes <{header}>, which no line of the table allows"


def cpp_violations(root: Path, table: dict) -> list[str]:
    found = []
    include = re.compile(r'^\s*#\s*include\s*(?:"([^"]+)"|<([^>]+)>)')
    for path in source_files(root, CPP):
        if folder_of(path, table) is None:
            found.append(f"{path}: is in no folder of the table")
            continue
        text = (root / path).read_text()
        for number, line in enumerate(text.split("\n"), 1):
            if m := include.match(line):
                quoted = m.group(1) is not None
                if problem := include_problem(path, m.group(1) or m.group(2), quoted, root, table):
                    found.append(f"{path}:{number}: {problem}")
        for number, line in enumerate(without_comments_and_strings(text).split("\n"), 1):
            if include.match(line):
                continue
            for name, library in table["library"].items():
                if (m := re.search(library["names"], line)) and not matches(path, library["files"]):
                    found.append(f"{path}:{number}: names {m.group().strip()}, but {name} is fenced")
    return found


def cmake_violations(root: Path, table: dict) -> list[str]:
    """The libraries that CMake links to a folder are edges of the table too."""
    found = []
    text = (root / "CMakeLists.txt").read_text() if (root / "CMakeLists.txt").exists() else ""
    row_of = {row.replace("/", "_"): row for row in table["may_include"]}
    for m in re.finditer(r"troupe_folder\(\s*([\w/]+)(?:\s+DEPENDS((?:\s+[\w/]+)*?))?(?=\s+[A-Z_]+\b|\s*\))", text):
        folder, depends = folder_of(m.group(1) + "/", table), (m.group(2) or "").split()
        if folder is None:
            found.append(f"CMakeLists.txt: {m.group(1)} is not in the table")
            continue
        allowed = {a if a in table["may_include"] else a.rsplit("/", 1)[0] for a in table["may_include"][folder]}
        for name in depends:
            if row_of.get(name) not in allowed:
                found.append(f"CMakeLists.txt: {m.group(1)} may not depend on {name}")
    return found


def imported(tree: ast.AST):
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield node.lineno, alias.name
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            for alias in node.names:
                yield node.lineno, f"{node.module}.{alias.name}"


def python_violations(root: Path) -> list[str]:
    """Models use the public package; the package uses neither models nor tests."""
    found = []
    for path in source_files(root, (".py",)):
        in_models, in_package = path.startswith("models/"), path.startswith("python/troupe/")
        if not (in_models or in_package):
            continue
        here = (root / path).parent
        for number, name in imported(ast.parse((root / path).read_text(), path)):
            first, *rest = name.split(".")
            if in_models:
                if first == "troupe" and any(part.startswith("_") and part != "__version__" for part in rest):
                    found.append(f"{path}:{number}: imports {name}, which is not public")
                local = (here / f"{first}.py").exists() or (here / first).is_dir() or first == "models"
                if not (first in sys.stdlib_module_names or first in ("troupe", "numpy", "safetensors") or local):
                    found.append(f"{path}:{number}: imports {name}: models use troupe, numpy and safetensors only")
            elif first in ("models", "tests", "torch", "pytest"):
                found.append(f"{path}:{number}: imports {name}: the package must not")
    return found


def cycle_in(table: dict) -> list[str]:
    rows = table["may_include"]
    graph = {row: {a if a in rows else a.rsplit("/", 1)[0] for a in allowed} for row, allowed in rows.items()}
    try:
        list(graphlib.TopologicalSorter(graph).static_order())
        return []
    except graphlib.CycleError as error:
        return list(error.args[1])


def test_includes_and_names():
    found = cpp_violations(ROOT, TABLE)
    assert not found, "\n" + "\n".join(found)


def test_cmake_dependencies():
    found = cmake_violations(ROOT, TABLE)
    assert not found, "\n" + "\n".join(found)


def test_python_imports():
    found = python_violations(ROOT)
    assert not found, "\n" + "\n".join(found)


def test_table_has_no_cycle():
    assert cycle_in(TABLE) == []
    assert cycle_in({"may_include": {"a": ["b"], "b": ["a/x.h"]}})


def test_nine_files_in_ten_are_under_400_lines():
    lines = {p: (ROOT / p).read_text().count("\n") for p in source_files(ROOT, CPP + (".py",))}
    long = sorted((n, p) for p, n in lines.items() if n >= 400)
    print(f"{len(long)} of {len(lines)} files have 400 lines or more:", *(f"{p} ({n})" for n, p in reversed(long)))
    assert len(long) * 10 <= len(lines), long


# The guard itself: each made-up tree has one thing wrong, and exactly that is found.
FORBIDDEN = {
    "a layer above": ("planner/p.cpp", '#include "actors/engine/credits.h"', "planner may not include actors/engine"),
    "actors see the planner": ("actors/driver.cpp", '#include "planner/compile.h"', "may not include planner"),
    "actors see sbp": ("actors/engine/e.h", '#include "sbp/layout.h"', "may not include sbp"),
    "the planner sees kernels": ("planner/p.cpp", '#include "ops/cpu/gemm.h"', "may not include ops/cpu"),
    "a side door": ("ops/o.cpp", '#include "runtime/device/arena.h"', "ops may not include runtime/device"),
    "CAF in the engine": ("actors/engine/e.cpp", "#include <caf/all.hpp>", "caf is fenced"),
    "CAF without its header": ("python/bindings/b.cpp", "caf::actor a;", "names caf::"),
    "Cap'n Proto": ("planner/p.cpp", "#include <capnp/message.h>", "capnproto is fenced"),
    "the schema": ("actors/a.cpp", '#include "runtime/plan/plan.capnp.h"', "capnproto is fenced"),
    "CPU math": ("ops/o.cpp", "#include <dnnl.h>", "cpu_math is fenced"),
    "CUDA": ("planner/p.cpp", "#include <cuda_runtime.h>", "cuda is fenced"),
    "NCCL": ("runtime/device/d.cpp", "#include <nccl.h>", "transport is fenced"),
    "the binding": ("actors/a.cpp", "#include <nanobind/nanobind.h>", "binding is fenced"),
    "tests' library": ("sbp/s.cpp", "#include <gtest/gtest.h>", "googletest is fenced"),
    "benchmarks' library": ("actors/engine/e_test.cpp", "#include <benchmark/benchmark.h>", "benchmark is fenced"),
    "a header for tests": ("sbp/s.cpp", '#include "sbp/test_shapes.h"', "which is for tests"),
    "an unknown library": ("sbp/s.cpp", "#include <boost/graph.hpp>", "no line of the table allows"),
    "a relative path": ("sbp/s.cpp", '#include "layout.h"', "paths start at the root"),
    "input and output in sbp": ("sbp/s.cpp", "#include <fstream>", "sbp is pure"),
    "a new folder": ("misc/m.cpp", "int x;", "in no folder of the table"),
}


@pytest.mark.parametrize("what", FORBIDDEN)
def test_refuses(tmp_path, what):
    path, line, expected = FORBIDDEN[what]
    (tmp_path / path).parent.mkdir(parents=True)
    (tmp_path / path).write_text(f"// planner/compile.h, caf::actor\n{line}\n")
    found = cpp_violations(tmp_path, TABLE)
    assert len(found) == 1 and expected in found[0], found


def test_allows(tmp_path):
    allowed = {
        "planner/p.cpp": '#include <vector>\n#include "ops/op.h"\n// #include "actors/a.h"\nauto s = "caf::actor";',
        "actors/a.cpp": '#include <caf/all.hpp>\n#include "actors/engine/e.h"\ncaf::actor a;',
        "ops/cuda/k.cu": "#include <cuda_runtime.h>",
        "ops/cpu/c.cpp": "#include \"runtime/device/cuda_like.h\"",
        "ops/cpu/gemm.cpp": "#include <dnnl.h>\n#include <immintrin.h>",
        "runtime/plan/read.cpp": '#include <capnp/serialize.h>\n#include "runtime/plan/plan.capnp.h"',
        "sbp/sbp_test.cpp": '#include <gtest/gtest.h>\n#include "sbp/sbp.h"\n#include "sbp/test_shapes.h"',
        "sbp/test_shapes.h": "#include <gtest/gtest.h>\n#include <fstream>",
        "tests/bench/b.cpp": '#include <benchmark/benchmark.h>\n#include "actors/engine/e.h"',
    }
    for path, text in allowed.items():
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(text + "\n")
    assert cpp_violations(tmp_path, TABLE) == []


def test_refuses_cmake_edge(tmp_path):
    (tmp_path / "CMakeLists.txt").write_text("troupe_folder(actors DEPENDS actors_engine planner LIBS x)\n")
    assert cmake_violations(tmp_path, TABLE) == ["CMakeLists.txt: actors may not depend on planner"]


def test_refuses_python_imports(tmp_path):
    for path, text in {
        "models/gpt/model.py": "import numpy\nimport torch\nfrom troupe import nn, _core\nimport corpus\n",
        "models/gpt/corpus.py": "import os\n",
        "python/troupe/nn.py": "import models.gpt\n",
    }.items():
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(text)
    assert [v.split(":")[0] + ":" + v.split(":")[1] for v in python_violations(tmp_path)] == [
        "models/gpt/model.py:2", "models/gpt/model.py:3", "python/troupe/nn.py:1"]
