"""`troupe plan MODEL`: the plan of a published model on a mesh of any size, without running anything."""

from __future__ import annotations

import argparse
import itertools
import json
import math
import time

from troupe import recipes
from troupe._troupe import PlanError
from troupe.layout import S
from troupe.mesh import Mesh, memory_bytes, parse_axes
from troupe.plan import Plan
from troupe.published import find
from troupe.step import TrainStep


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of the command."""
    parser.add_argument("model", help="a published model such as gpt2-124m, or a plan that was saved")
    parser.add_argument("--mesh", action="append", help="axes and sizes, such as dp=16,tp=8,pp=8")
    parser.add_argument(
        "--recipe",
        action="append",
        help="such as zero3+megatron+1f1b, or recipes of the model itself; several meshes and recipes are compared",
    )
    parser.add_argument("--batch", type=int, help="rows per step (default: one per piece and device that shares it)")
    parser.add_argument(
        "--pieces", type=int, help="pieces of a step per data-parallel device (default: 4 per stage)"
    )
    parser.add_argument("--seq", type=int, help="tokens per sequence (default: the model's)")
    parser.add_argument("--precision", default="f32", help="f32, bf16 or f16")
    parser.add_argument("--memory", default="0", help="of a device, such as 141GB; a larger plan is refused")
    parser.add_argument("--gpus-per-host", type=int, default=8, metavar="N", help="0 plans for CPU devices")
    parser.add_argument("--stage", help="print the text of one stage of planning, such as deduce")
    parser.add_argument("--json", action="store_true", help="print what a program would want to know")


def run(arguments: argparse.Namespace) -> None:
    """Prints one plan, or a line for each of several."""
    pairs = list(itertools.product(arguments.mesh or [""], arguments.recipe or ["data_parallel"]))
    results = []
    for mesh, recipe in pairs:
        began = time.perf_counter()
        plan = dry_plan(arguments, mesh, recipe)
        results.append((mesh, recipe, plan, time.perf_counter() - began))
    if arguments.json:
        found = [{"mesh": m, "recipe": r, "planning_s": s, **plan.as_dict()} for m, r, plan, s in results]
        print(json.dumps(found[0] if len(found) == 1 else found, indent=2))
    elif len(results) == 1:
        plan = results[0][2]
        print(plan.stages[arguments.stage] if arguments.stage in plan.stages else plan.summary())
        if arguments.stage is not None and arguments.stage not in plan.stages:
            raise PlanError(f"there is no stage '{arguments.stage}'; {', '.join(plan.stages)} are possible")
    else:
        _compare(results)


def _compare(results: list[tuple[str, str, Plan, float]]) -> None:
    width = max(len(mesh) + len(recipe) for mesh, recipe, _, _ in results) + 4
    print(f"{'':{width}}{'step':>12}{'bubble':>9}{'peak':>12}{'received':>12}")
    for mesh, recipe, plan, _ in results:
        facts = plan.as_dict()
        peak = max(row["peak"] for row in facts["memory"])
        received = sum(facts["link_bytes"].values())
        print(
            f"{mesh}  {recipe:{width - len(mesh) - 2}}{facts['predicted_step_s'] * 1e3:>9.1f} ms"
            f"{facts['certificate']['bubble']:>8.0%}{peak / 2**30:>8.1f} GiB{received / 2**30:>8.1f} GiB"
        )


def dry_plan(arguments: argparse.Namespace, mesh_text: str, recipe_text: str) -> Plan:
    """The plan for one mesh and recipe."""
    published = find(arguments.model)
    if arguments.seq is not None:
        published = published.with_sequences(arguments.seq)
    model = published.model
    kind = "gpu" if arguments.gpus_per_host else "cpu"
    mesh = Mesh(kind, tuple(parse_axes(mesh_text).items()), memory_bytes(arguments.memory))
    recipe = recipes.parse(recipe_text, published.recipes)
    decision = recipe.decide(model, mesh)
    ranks = math.prod(mesh.axis_size(axis) for axis in decision.data_axes)
    # Those that share the samples of a piece.
    sharing = math.prod(mesh.axis_size(rule.axis) for rule in decision.sources if rule.sbp == S(0))
    stages = mesh.axis_size(decision.stages.axis) if decision.stages is not None else 1
    pieces = arguments.pieces or (4 * stages if stages > 1 else 1)
    step = TrainStep(
        model,
        published.loss,
        published.optimizer(model.parameters()),
        mesh=mesh,
        recipe=recipe,
        pieces_per_shard=pieces,
        clip_grad_norm=1.0,
        precision=arguments.precision,
    )
    return step.dry_plan(published.fields, arguments.batch or ranks * pieces * sharing, arguments.gpus_per_host)
