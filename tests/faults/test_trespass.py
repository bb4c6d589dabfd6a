"""A module that leaves files in the folders of others: nothing of it becomes a result, and nothing of it stays."""

import json
from collections.abc import Iterator

import ledger
import pytest
import quiet
from shapes import content
from stored import load
from watchers import Follower
from world import World

from jobd.states import JobState

pytestmark = pytest.mark.timeout(280)


@pytest.fixture
def world(tmp_path_factory, process_guard) -> Iterator[World]:
    """An installation without Prefect."""
    world = World(tmp_path_factory.mktemp("t"), prefect_api_url="http://127.0.0.1:9/api", grace=0)
    world.start()
    yield world
    assert world.close() == {}


def test_strays_in_other_folders_are_no_results(world: World):
    """The other entry's output is whole, the artifacts are those that were declared, and every stray is gone."""

    def entry(module: str, makes: str, **params: object) -> dict[str, object]:
        output = {"name": makes, "param_name": "output", "type": "data", "public": True}
        return {"module": module, "name": module, "output_artifacts": [output], "params": params}

    victim = entry("fault", "v.bin", ledger=str(world.ledger), seconds=1.5)
    document = {"name": "trespass", "steps": [{"name": "s0", "entries": [victim, entry("trespass", "t.bin")]}]}
    job_id = world.submit(json.dumps(document).encode(), "trespass")
    assert Follower(world, job_id).join(150)
    assert list(quiet.check_world(world, {job_id}, world.log)) == []
    stored = load(world.state, job_id)
    assert stored is not None
    assert stored.job.state is JobState.SUCCEEDED
    folder = world.job_folder(job_id)
    assert "left " in next((folder / "logs").rglob("s0/trespass/1.log")).read_text()
    assert (folder / "artifacts/v.bin").read_bytes() == content(("s0", "fault"), [])
    assert (folder / "artifacts/t.bin").read_bytes() == b"its own"
    assert sorted(path.name for path in (folder / "artifacts").iterdir()) == ["t.bin", "v.bin"]
    assert list(folder.rglob("stray")) == []
    assert [line.kind for line in ledger.read(world.ledger)] == ["start", "end"]
