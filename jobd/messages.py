"""What the daemon, the nursery and the runners say to each other: one JSON object a line, over unix sockets."""

from typing import Annotated, Literal
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

from jobd.containment import NOTHING_ASKED, Containment
from jobd.events import Failure
from jobd.plan import Resources
from jobd.states import EntryState


class _Message(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    def line(self) -> bytes:
        """Give the message as a line."""
        return self.model_dump_json().encode() + b"\n"


class Assignment(_Message):
    """All that a runner needs to know beside the plan; written to disk before it is forked."""

    job_id: str
    launch: str = ""
    """Names this start of a runner: one that was wished for earlier, and born late, finds another name and ends."""
    cpus: float
    """How many cpus entries may use at once, over all jobs."""
    finished: tuple[tuple[str, str], ...] = ()
    """Entries, by step and name, that have succeeded under an earlier runner."""
    ended: tuple[tuple[str, str, EntryState], ...] = ()
    """Entries, by step and name, that have ended otherwise under an earlier runner."""
    failure: Failure | None = None
    """Why the job has failed, when an entry of it failed under an earlier runner."""
    attempts: tuple[tuple[str, str, int], ...] = ()
    """How many attempts of an entry, by step and name, there were under earlier runners."""
    started: float | None = None
    """When the job first started, in seconds since the epoch; None when it did not yet."""
    present: tuple[str, ...] = ()
    """Artifacts that are on disk."""
    containment: Containment = NOTHING_ASKED
    """What holds its modules back."""


class Lease(_Message):
    """A share of the capacity that one entry holds or wants."""

    key: str
    """Names the entry within its job."""
    resources: Resources
    gpus: tuple[str, ...] | None = None
    """The gpus that are its own, by id; None where the daemon hands out none."""


class Hello(_Message):
    """First words of a runner, also after a reconnect."""

    kind: Literal["hello"] = "hello"
    job_id: str
    pid: int
    start_ticks: int
    """Clock ticks from boot to the start of the runner: with the pid, its identity."""
    held: tuple[Lease, ...] = ()
    """What it holds by grants of this or an earlier daemon."""


class Acquire(_Message):
    """A runner wants capacity; answered by Granted, some time."""

    kind: Literal["acquire"] = "acquire"
    lease: Lease


class Release(_Message):
    """A runner gives capacity back, or no longer wants it."""

    kind: Literal["release"] = "release"
    key: str


class Alive(_Message):
    """A runner is not hung; said every few seconds."""

    kind: Literal["alive"] = "alive"


class Granted(_Message):
    """A runner may use what it wanted."""

    kind: Literal["granted"] = "granted"
    key: str
    gpus: tuple[str, ...] | None = None
    """The gpus that are its own, by id; None where the daemon hands out none."""


class Cancel(_Message):
    """A runner shall end its job."""

    kind: Literal["cancel"] = "cancel"
    reason: str


class FlowRunId(_Message):
    """A flow run that was made for a job, and its flow."""

    id: UUID
    flow_id: UUID


class Fork(_Message):
    """The nursery shall fork a runner."""

    kind: Literal["fork"] = "fork"
    job_id: str
    launch: str
    """Must be that of the assignment when the runner has its lock."""
    plain: bool = False
    """Whether the job shall run without Prefect."""
    flow_run_follows: bool = False
    """Whether a FlowRunMade comes after this; without one the runner makes its flow run itself."""


class FlowRunMade(_Message):
    """The flow run of a job whose runner was asked for has been made, or was not to be had."""

    kind: Literal["made"] = "made"
    job_id: str
    launch: str
    """That of the Fork it belongs to."""
    flow_run: FlowRunId | None
    """None when the runner is to make one itself."""


class Forked(_Message):
    """The nursery forked a runner."""

    kind: Literal["forked"] = "forked"
    job_id: str
    pid: int


class Ended(_Message):
    """A runner that the nursery forked has ended."""

    kind: Literal["ended"] = "ended"
    job_id: str
    pid: int
    status: int
    """Its exit code, or minus the number of the signal that ended it."""


class Ready(_Message):
    """The nursery has imported everything and can fork."""

    kind: Literal["ready"] = "ready"


FROM_RUNNER: TypeAdapter[Hello | Acquire | Release | Alive] = TypeAdapter(
    Annotated[Hello | Acquire | Release | Alive, Field(discriminator="kind")]
)
TO_RUNNER: TypeAdapter[Granted | Cancel] = TypeAdapter(Annotated[Granted | Cancel, Field(discriminator="kind")])
TO_NURSERY: TypeAdapter[Fork | FlowRunMade] = TypeAdapter(Annotated[Fork | FlowRunMade, Field(discriminator="kind")])
FROM_NURSERY: TypeAdapter[Ready | Forked | Ended] = TypeAdapter(
    Annotated[Ready | Forked | Ended, Field(discriminator="kind")]
)
