"""A plan as text for a person."""

from collections.abc import Mapping
from pathlib import Path

from jobapi.v1 import job_service_pb2

from jobctl.tables import format_table, name_producer
from jobctl.terminal import escape


def format_plan(plan: job_service_pb2.Plan, paths: Mapping[str, Path | None]) -> list[str]:
    """Tell what would run and on which files; `paths` has a file, or None, for each input."""
    lines = [f"{escape(plan.name)} {escape(plan.version)}".rstrip()]
    if plan.inputs:
        rows = [("INPUT", "TYPE", "FILE"), *(_make_input_row(item, paths) for item in plan.inputs)]
        lines += ["", *format_table(rows)]
    if plan.steps:
        steps = [
            (step.name, entry.name, entry.module, ", ".join(entry.inputs), ", ".join(entry.outputs))
            for step in plan.steps
            for entry in step.entries
        ]
        lines += ["", *format_table([("STEP", "ENTRY", "MODULE", "TAKES", "MAKES"), *steps])]
    if plan.artifacts:
        artifacts = [
            (item.name, item.type, "public" if item.public else "", name_producer(item)) for item in plan.artifacts
        ]
        lines += ["", *format_table([("ARTIFACT", "TYPE", "KEPT", "FROM"), *artifacts])]
    return lines


def _make_input_row(item: job_service_pb2.PlanInput, paths: Mapping[str, Path | None]) -> tuple[str, ...]:
    key = item.name or item.param_name
    path = paths.get(key)
    return (key, item.type, str(path) if path else f"none yet: give it with --input {key}=PATH")
