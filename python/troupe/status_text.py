"""How `troupe status` shows a run."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_DOING = {
    "script": "in the script's own code",
    "planning": "planning",
    "step": "in a step",
    "data": "waiting for the script's data",
    "saving": "saving a checkpoint",
}
_OLD_S = 3.0  # a file that is written every second


def text_of(run: Mapping[str, Any]) -> str:
    """Lines about a run; see `status.read`."""
    age, plan, doing, waits = run["age_s"], run["plan"], run["doing"], run["waits"]
    lines = [f"process {run['pid']} on {run['host']}, for {_seconds(run['seconds'] + age)}: {' '.join(run['command'])}"]
    if run["step"] is not None:
        of = f" of {run['steps']}" if run["steps"] is not None else ""
        done = f"{run['step'] + 1}{of} steps, loss {run['loss']:.4g}, {run['tokens_per_s']:,.0f} tokens/s"
    else:
        done = "no step yet"
    stopped = "; the process is stopped or hangs" if age > _OLD_S else ""
    lines.append(f"  {done}; last update {_seconds(age)} ago{stopped}")
    lines.append(f"  {_DOING[doing['what']]} for {_seconds(doing['seconds'] + age)}")
    if waits is not None:
        first, *more = waits["for"].splitlines()
        lines += [f"  waits for {_seconds(waits['seconds'] + age)}: {first}", *(f"    {line}" for line in more)]
    if plan is not None:
        mesh = ",".join(f"{axis}={size}" for axis, size in plan["mesh"].items())
        least = f"at least {plan['predicted_step_s']:.3g} s a step"
        lines.append(f"  plan '{plan['name']}' on {mesh or 'one device'}, {least}")
    if run["read_ahead"] is not None:
        lines.append(f"  sources have read {run['read_ahead']} steps ahead")
    for index, worker in enumerate(run["workers"]):
        heard = "gone" if worker["gone"] else f"heard {_seconds(worker['heard_s'] + age)} ago"
        lines.append(
            f"  worker {index}: process {worker['pid']} on {worker['host']}, {worker['devices']} devices, "
            f"alive for {_seconds(worker['alive_s'] + age)}, {heard}"
        )
    for device in run["devices"]:
        counted = device["counted_peak_bytes"]
        peak = f", counted {_bytes(counted)}" if counted is not None else ""
        lines.append(
            f"  {device['name']}: {_bytes(device['memory_bytes'])}; workspace at its peak: promised "
            f"{_bytes(device['promised_peak_bytes'])}{peak}"
        )
    return "\n".join(lines)


def _seconds(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.1f} s" if seconds < 10 else f"{seconds:.0f} s"
    minutes = int(seconds) // 60
    return f"{minutes} min" if minutes < 120 else f"{minutes // 60} h {minutes % 60} min"


def _bytes(size: int) -> str:
    for unit in ("B", "KiB", "MiB"):
        if size < 1024:
            return f"{size:.0f} B" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1024
    return f"{size:.1f} GiB"
