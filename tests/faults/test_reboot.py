"""The machine loses its power while a job runs: after the next boot the job goes on, and nothing is done twice."""

import json
import os
import time
from collections.abc import Iterator
from pathlib import Path

import invariants
import ledger
import pytest
import quiet
from done import Done
from shapes import Shape, content
from watchers import Follower
from world import World

pytestmark = [
    pytest.mark.timeout(280),
    pytest.mark.skipif(os.geteuid() != 0, reason="only root may give processes another boot's name"),
]
SECONDS = 60.0


@pytest.fixture
def world(tmp_path_factory, process_guard) -> Iterator[World]:
    """An installation without Prefect."""
    world = World(tmp_path_factory.mktemp("r"), prefect_api_url="http://127.0.0.1:9/api", grace=0)
    world.start()
    yield world
    assert world.close() == {}


def shape_of(folder: Path, seconds: float) -> Shape:
    """Make a job of two steps, the second of which takes so many seconds."""

    def entry(makes: str, uses: list[str], life: float) -> dict[str, object]:
        return {
            "module": "fault",
            "name": "e0",
            "params": {"ledger": str(folder / "ledger"), "seconds": life},
            "input_artifacts": [{"name": name, "param_name": "input", "type": "data"} for name in uses],
            "output_artifacts": [{"name": makes, "param_name": "output", "type": "data", "public": makes == "b"}],
        }

    steps = [
        {"name": "s0", "entries": [entry("a", [], 0.05)]},
        {"name": "s1", "entries": [entry("b", ["a"], seconds)]},
    ]
    first = content(("s0", "e0"), [])
    return Shape(
        name="rebooted",
        document=json.dumps({"name": "rebooted", "steps": steps}).encode(),
        artifacts={"a": first, "b": content(("s1", "e0"), [first])},
        public=frozenset({"b"}),
        makers={"a": ("s0", "e0"), "b": ("s1", "e0")},
        step_of={("s0", "e0"): 0, ("s1", "e0"): 1},
        doomed=False,
    )


def started(world: World) -> list[str]:
    """Give the steps whose module has started, in order."""
    return [line.key[0] for line in ledger.read(world.ledger) if line.kind == "start"]


def until_started(world: World, steps: list[str]) -> None:
    """Wait until modules of these steps have started, no more and no less."""
    deadline = time.monotonic() + SECONDS
    while started(world) != steps:
        assert time.monotonic() < deadline, (started(world), world.log[-2000:])
        time.sleep(0.02)


def test_a_job_goes_on_after_a_power_cut(world: World):
    """What had ended stays so, what ran is run again, no number of the last boot is trusted, and nothing is left."""
    shape, done = shape_of(world.folder, 3.0), Done()
    job_id = world.submit(shape.document, shape.name)
    follower = Follower(world, job_id)
    done.job_ids[0] = job_id
    done.followers.append(follower)
    until_started(world, ["s0", "s1"])
    assert world.reboot() == []
    assert world.machine.new_boots
    until_started(world, ["s0", "s1", "s1"])
    assert follower.join(SECONDS), world.log[-2000:]
    assert follower.seen[-1][1] == "job_succeeded"
    assert "job_recovering" in [kind for _sequence, kind in follower.seen]
    assert list(quiet.check_world(world, {job_id}, world.log)) == []
    assert list(invariants.check_schedule(world, {job_id: shape}, done)) == []
    assert started(world) == ["s0", "s1", "s1"]
    assert not world.machine.bystander_harmed


@pytest.mark.skipif(not os.environ.get("FAULTS"), reason="it takes long; `make test-faults` runs it")
def test_power_may_be_cut_again_and_again(world: World):
    """A job that was interrupted more often than is allowed for says so; it is not run for ever."""
    shape = shape_of(world.folder, 30.0)
    job_id = world.submit(shape.document, shape.name)
    follower = Follower(world, job_id)
    for cuts in range(4):
        until_started(world, ["s0", *["s1"] * (cuts + 1)])
        assert world.reboot() == []
    assert follower.join(SECONDS), world.log[-2000:]
    assert follower.seen[-1][1] == "job_failed"
    assert started(world).count("s0") == 1
