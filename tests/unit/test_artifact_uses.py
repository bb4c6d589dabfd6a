"""What nobody needs any more is given up once, when its last user has succeeded."""

import pytest

from jobd.artifact_uses import ArtifactUses
from jobd.plan import Binding, Plan, PlanArtifact, PlanEntry, PlanStep


def entry(name: str, *taken: str) -> PlanEntry:
    """Make an entry that takes these artifacts."""
    inputs = tuple(Binding(param_name=each, artifacts=(each,)) for each in taken)
    return PlanEntry(step="one", name=name, module="copy", folder="/m", entrypoint="main.py", inputs=inputs)


ENTRIES = (entry("a", "shared"), entry("b", "shared", "own"), entry("c", "public"))


@pytest.fixture
def uses() -> ArtifactUses:
    """Give the uses of a job that has three artifacts and has yet to make one more."""
    users = {"shared": ("a", "b"), "own": ("b",), "public": ("c",), "made": ()}
    artifacts = tuple(
        PlanArtifact(
            name=name,
            type="text",
            public=name == "public",
            step="",
            entry="",
            consumers=[("one", each) for each in names],
        )
        for name, names in users.items()
    )
    plan = Plan(name="x", version="1", steps=(PlanStep(name="one", entries=ENTRIES),), artifacts=artifacts)
    return ArtifactUses(plan, present=("shared", "own", "public"), ended=())


def test_the_last_user_frees_what_it_took(uses: ArtifactUses):
    """What two entries take is needed until both have succeeded; what is public stays."""
    uses.note_success(ENTRIES[0], ())
    assert uses.give_up_unneeded(["shared"]) == []
    uses.note_success(ENTRIES[1], ())
    uses.note_success(ENTRIES[2], ())
    assert uses.give_up_unneeded(["own", "shared", "public", "own"]) == ["own", "shared"]
    assert uses.give_up_unneeded(["own", "shared"]) == []


def test_the_rest_is_what_is_there_and_not_public(uses: ArtifactUses):
    """What was made meanwhile belongs to it; nothing is given up twice."""
    uses.note_success(ENTRIES[0], ["made"])
    assert uses.give_up_rest() == ["made", "own", "shared"]
    assert uses.give_up_rest() == []


def test_what_is_not_there_is_not_given_up(uses: ArtifactUses):
    """An artifact without users that was never made needs no removal."""
    assert uses.give_up_unneeded(["made"]) == []
