"""What a job is made of once it is resolved: plain frozen data that could travel to another machine."""

from enum import StrEnum

from pydantic import BaseModel, ConfigDict

LOG_LIMIT = 64 << 20
"""What a log may hold unless something else is said, in bytes."""
_MOST_THREADS = 64


class LogOverflow(StrEnum):
    """What follows when a log passes its limit: its middle is dropped, or the entry is stopped."""

    TRUNCATE = "truncate"
    STOP = "stop"


class Model(BaseModel):
    """Plain frozen data that is the same after a journey through JSON."""

    model_config = ConfigDict(frozen=True)


class Binding(Model):
    """The artifacts that go to one parameter of a module."""

    param_name: str
    artifacts: tuple[str, ...]


class Resources(Model):
    """What an entry holds while it runs. Memory is in bytes; 0 where unstated."""

    cpus: float = 1
    memory: int = 0
    gpus: int = 0
    counters: dict[str, float] = {}


class Capacity(Model):
    """What the machine has to give. Memory is in bytes; 0 where unknown, and then everything fits."""

    cpus: float
    memory: int = 0
    gpus: int = 0
    counters: dict[str, float] = {}


class PlanInput(Model):
    """A file that the job's submitter gives, and the names under which entries use it; none if no entry does."""

    param_name: str
    name: str = ""
    type: str
    artifact_names: tuple[str, ...] = ()


class PlanArtifact(Model):
    """An artifact, who makes it (both empty for a job input) and who uses it, as (step, entry)."""

    name: str
    type: str
    public: bool = False
    step: str = ""
    entry: str = ""
    consumers: tuple[tuple[str, str], ...] = ()


class Sandbox(Model):
    """What an entry in a sandbox gets beside its files: the network, and folders that are hidden otherwise."""

    network: bool = False
    read: tuple[str, ...] = ()


class PlanEntry(Model):
    """One run of a module: all that is needed to start it but the paths. Times are seconds.

    `options` are command line tokens as they stand; `preload` is None where no warm start is wanted. `silence` is how
    long it may print nothing; `log_limit` and `output_limit` are bytes, 0 where there is none; `retry_on` holds kinds
    of failure, and is empty where every kind is tried again. `secrets` names the secret for each environment variable
    that gets one; `sandbox` is None where there is none around it.
    """

    step: str
    name: str
    module: str
    module_version: str = ""
    folder: str
    entrypoint: str
    inputs: tuple[Binding, ...] = ()
    outputs: tuple[Binding, ...] = ()
    options: tuple[str, ...] = ()
    resources: Resources = Resources()
    timeout: float | None = None
    silence: float | None = None
    log_limit: int = LOG_LIMIT
    log_overflow: LogOverflow = LogOverflow.TRUNCATE
    output_limit: int = 0
    retries: int = 0
    retry_on: tuple[str, ...] = ()
    grace: float = 10
    env: dict[str, str] = {}
    secrets: dict[str, str] = {}
    sandbox: Sandbox | None = None
    preload: tuple[str, ...] | None = ()


class PlanStep(Model):
    """Entries that run in parallel."""

    name: str
    entries: tuple[PlanEntry, ...]

    def threads(self, cpus: float) -> int:
        """Give how many threads its entries can make use of: as many as can run at once, and a few that wait.

        Where not all need the same scarce things, those that wait for one must not keep the others from a thread.
        """
        needs = {
            (entry.resources.memory, entry.resources.gpus, *sorted(entry.resources.counters.items()))
            for entry in self.entries
        }
        least = min((entry.resources.cpus for entry in self.entries), default=1.0)
        at_once = int(cpus / max(least, 0.01)) + 4 if len(needs) <= 1 else len(self.entries)
        return max(1, min(len(self.entries), at_once, _MOST_THREADS))


class Plan(Model):
    """A job that can run as it stands. The timeout is that of the whole job, in seconds."""

    name: str
    version: str = ""
    labels: dict[str, str] = {}
    priority: int = 0
    timeout: float | None = None
    inputs: tuple[PlanInput, ...] = ()
    artifacts: tuple[PlanArtifact, ...] = ()
    steps: tuple[PlanStep, ...]
