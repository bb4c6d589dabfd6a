"""The keys that bound an entry: what they may say, and that the job file's word stands over the module's."""

from pathlib import Path

import pytest

from jobd.catalog import Module
from jobd.errors import InvalidDocumentError
from jobd.events import FailureKind
from jobd.manifest import Manifest, read_manifest
from jobd.plan import Capacity, LogOverflow, PlanEntry
from jobd.planner import make_plan

MANIFEST = b"name: m\ndescription: does something\nentrypoint: main.py\n"
BOUNDS = (
    b"silence: 10m\nlog_limit: 1MiB\nlog_overflow: stop\noutput_limit: 2GiB\nretries: 2\nretry_on: [signal, timeout]\n"
)


def plan(manifest: bytes, entry: str) -> PlanEntry:
    read = read_manifest(manifest)
    module = Module(
        name="m", description="", version="", folder=Path("/modules/m"), entrypoint="main.py", manifest=read
    )
    text = f"name: j\nsteps: [{{name: s, entries: [{{module: m{entry}}}]}}]\n"
    return make_plan(text.encode(), {"m": module}, Capacity(cpus=8)).steps[0].entries[0]


def bounds(entry: PlanEntry) -> tuple[object, ...]:
    return (entry.silence, entry.log_limit, entry.log_overflow, entry.output_limit, entry.retry_on)


def test_the_defaults_bound_the_log_alone():
    """A module that says nothing may be silent, make any output and is tried again after any failure."""
    assert bounds(plan(MANIFEST, "")) == (None, 64 << 20, LogOverflow.TRUNCATE, 0, ())


def test_a_module_sets_its_bounds():
    """What a manifest says holds for an entry that says nothing, in seconds and bytes."""
    kinds = (FailureKind.SIGNAL, FailureKind.TIMEOUT)
    assert bounds(plan(MANIFEST + BOUNDS, "")) == (600, 1 << 20, LogOverflow.STOP, 2 << 30, kinds)


def test_an_entry_stands_over_its_module():
    """Each key of an entry counts by itself; the others stay the module's."""
    entry = ", silence: 5s, log_overflow: truncate, retry_on: [out_of_memory]"
    expected = (5, 1 << 20, LogOverflow.TRUNCATE, 2 << 30, (FailureKind.OUT_OF_MEMORY,))
    assert bounds(plan(MANIFEST + BOUNDS, entry)) == expected


def test_a_plan_keeps_its_bounds_on_its_way_through_json():
    """A runner reads the same bounds from the file that the daemon wrote; an older file has the defaults."""
    entry = plan(MANIFEST + BOUNDS, "")
    assert PlanEntry.model_validate_json(entry.model_dump_json()) == entry
    old = PlanEntry.model_validate_json('{"step": "s", "name": "n", "module": "m", "folder": "/f", "entrypoint": "e"}')
    assert bounds(old) == (None, 64 << 20, LogOverflow.TRUNCATE, 0, ())


@pytest.mark.parametrize(
    ("line", "told"),
    [
        (b"retry_on: [signal, segfault]", "must be 'exit_code', 'signal'"),
        (b"retry_on: signal", "must be a list"),
        (b"retry_on: []", "write `retries: 0` for none"),
        (b"log_limit: 1KiB", "greater than or equal to 65536"),
        (b"log_limit: much", "write it like 512MB"),
        (b"log_overflow: rotate", "must be 'truncate' or 'stop'"),
        (b"output_limit: 0", "greater than 0"),
        (b"silence: 0", "greater than 0"),
        (b"silense: 10m", "did you mean `silence`?"),
    ],
    ids=lambda value: value.decode() if isinstance(value, bytes) else "",
)
def test_a_bound_that_makes_no_sense_is_told(line: bytes, told: str):
    """What is wrong with a key is told at its line, with a way out."""
    with pytest.raises(InvalidDocumentError) as caught:
        read_manifest(MANIFEST + line + b"\n")
    (violation,) = caught.value.violations
    assert violation.line == 4
    assert told in str(violation)


def test_a_manifest_without_them_is_as_it_was():
    """Manifests written before these keys existed read the same."""
    assert read_manifest(MANIFEST) == Manifest(name="m", description="does something", entrypoint="main.py")
