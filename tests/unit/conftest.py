"""A small plan, the job it makes, and a way to let things happen to a job."""

from collections.abc import Callable

import pytest

from jobd.events import JobEvent, Record
from jobd.history import apply
from jobd.jobs import Job, new_job
from jobd.plan import Binding, Plan, PlanArtifact, PlanEntry, PlanInput, PlanStep

Play = Callable[..., Job]


@pytest.fixture
def plan() -> Plan:
    """Give a plan of two steps: `cut` makes two artifacts in parallel, `join` makes one public artifact of them."""
    entries = {
        "left": PlanEntry(
            step="cut",
            name="left",
            module="copy",
            folder="/modules/copy",
            entrypoint="main.py",
            inputs=(Binding(param_name="input", artifacts=("video.mp4",)),),
            outputs=(Binding(param_name="output", artifacts=("left.txt",)),),
        ),
        "right": PlanEntry(
            step="cut",
            name="right",
            module="copy",
            folder="/modules/copy",
            entrypoint="main.py",
            inputs=(Binding(param_name="input", artifacts=("video.mp4",)),),
            outputs=(Binding(param_name="output", artifacts=("right.txt",)),),
        ),
        "all": PlanEntry(
            step="join",
            name="all",
            module="join",
            folder="/modules/join",
            entrypoint="main.py",
            inputs=(Binding(param_name="parts", artifacts=("left.txt", "right.txt")),),
            outputs=(Binding(param_name="output", artifacts=("all.txt",)),),
        ),
    }
    cut, join = ("cut", "left"), ("join", "all")
    return Plan(
        name="example",
        version="1.0",
        labels={"team": "news"},
        priority=3,
        inputs=(PlanInput(param_name="input", type="video", artifact_names=("video.mp4",)),),
        artifacts=(
            PlanArtifact(name="video.mp4", type="video", consumers=(cut, ("cut", "right"))),
            PlanArtifact(name="left.txt", type="text", step="cut", entry="left", consumers=(join,)),
            PlanArtifact(name="right.txt", type="text", step="cut", entry="right", consumers=(join,)),
            PlanArtifact(name="all.txt", type="text", public=True, step="join", entry="all"),
        ),
        steps=(
            PlanStep(name="cut", entries=(entries["left"], entries["right"])),
            PlanStep(name="join", entries=(entries["all"],)),
        ),
    )


@pytest.fixture
def job(plan: Plan) -> Job:
    """Give the job that the plan makes, before its first event."""
    return new_job("abc123", plan, submitted=1000.0)


@pytest.fixture
def play() -> Play:
    """Give a function that lets events happen to a job one second apart."""

    def let_happen(job: Job, *happened: JobEvent) -> Job:
        for event in happened:
            number = job.sequence + 1
            job = apply(job, Record(sequence=number, time=1000.0 + number, event=event))
        return job

    return let_happen
