"""Modules run both ways: started by themselves, and forked from a warm interpreter."""

import os
import re
import select
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from time import monotonic
from typing import Any

import pytest

from jobd import invocation, job_cgroup, warm_process
from jobd.artifacts import ArtifactStore
from jobd.attempt import Attempt, Cancelled, Failed, Succeeded
from jobd.attempt_run import run_attempt
from jobd.layout import JobDirectory
from jobd.plan import Binding, Plan, PlanEntry, PlanStep
from jobd.warm_hosts import WarmHosts
from jobd.warm_process import Parked

MODULES = Path(__file__).parent / "modules"
JOB = f"conform-{os.getpid()}"
PATIENCE = 60.0


class Counted(WarmHosts):
    """Warm interpreters that count the processes that were forked from them."""

    forks = 0

    def fork(self, entry: PlanEntry, *how: Any) -> Parked | None:
        """Fork as ever, and count."""
        parked = super().fork(entry, *how)
        self.forks += parked is not None
        return parked


@dataclass(frozen=True, slots=True)
class Seen:
    """What a run came to, as anybody outside can see."""

    outcome: Succeeded | Failed | Cancelled
    log: bytes
    outputs: dict[str, bytes]


@dataclass
class Both:
    """Runs one script cold and warm."""

    directory: JobDirectory
    opened: list[WarmHosts] = field(default_factory=list)

    def entry(self, script: str, **rest: object) -> PlanEntry:
        """Give an entry that runs a script of the folder, or one that is given as a path."""
        path = MODULES / script
        outputs = (Binding(param_name="output", artifacts=("made.txt",)),) if rest.pop("made", False) else ()
        values = {"grace": 0.3, "outputs": outputs} | rest
        return PlanEntry.model_validate(
            {"step": "step", "name": "entry", "module": path.stem, "folder": f"{path.parent}", "entrypoint": path.name}
            | values
        )

    def hosts(self, entry: PlanEntry, *, ready: bool = True, idle_seconds: float = 30) -> Counted:
        """Give warm interpreters for a job that is large enough for them, ready to fork this entry."""
        entries = tuple(entry.model_copy(update={"name": f"entry{number}"}) for number in range(10))
        hosts = Counted(Plan(name="job", steps=(PlanStep(name="step", entries=entries),)), idle_seconds=idle_seconds)
        self.opened.append(hosts)
        if ready:
            self.wait_ready(hosts, entry)
        return hosts

    def wait_ready(self, hosts: Counted, entry: PlanEntry) -> None:
        """Wait until one of them would fork."""
        argv, env, null = *self.call(entry), os.open(os.devnull, os.O_WRONLY)
        deadline = monotonic() + PATIENCE
        while (parked := hosts.fork(entry, argv, env, null)) is None:
            assert monotonic() < deadline, "no warm interpreter became ready"
            select.select([], [], [], 0.01)
        os.close(null)
        parked.drop()
        hosts.forks = 0

    def call(self, entry: PlanEntry) -> tuple[list[str], dict[str, str]]:
        """Give the command line and the environment of an entry."""
        scratch = self.directory.scratch(entry.step, entry.name, 1)
        argv = invocation.command(entry, ArtifactStore(self.directory.artifacts), scratch)
        return argv, invocation.environment(JOB, entry, 1, scratch)

    def run(self, entry: PlanEntry, hosts: WarmHosts | None = None) -> Seen:
        """Run it once, forked if there are hosts."""
        log = self.directory.log(entry.step, entry.name, 1)
        log.unlink(missing_ok=True)
        wake_fd, wake_end = os.pipe()
        try:
            outcome = run_attempt(self._attempt(entry, wake_fd, hosts), lambda _line: None)
        finally:
            os.close(wake_fd)
            os.close(wake_end)
        names = outcome.outputs if isinstance(outcome, Succeeded) else ()
        outputs = {name: (self.directory.artifacts / name).read_bytes() for name in names}
        # Where objects lie in memory is another place each time.
        text = re.sub(rb"0x[0-9a-f]+", b"0x", log.read_bytes())
        if isinstance(outcome, Failed):
            outcome = Failed(outcome.failure.model_copy(update={"log_tail": ()}))
        return Seen(replace(outcome, usage=None), text, outputs)

    def _attempt(self, entry: PlanEntry, wake_fd: int, hosts: WarmHosts | None) -> Attempt:
        return Attempt(
            job_id=JOB,
            entry=entry,
            number=1,
            directory=self.directory,
            artifacts=ArtifactStore(self.directory.artifacts),
            record=lambda *_happened, **_how: True,
            wake_fd=wake_fd,
            stop_reason=lambda: "the test stops it",
            hosts=hosts,
        )

    def compare(self, script: str, how: str = "", **rest: object) -> Seen:
        """Run it both ways, expect the same of both, and give it."""
        entry = self.entry(script, **{"options": (f"--how={how}",) if how else ()} | rest)
        started = self.run(entry)
        hosts = self.hosts(entry)
        forked = self.run(entry, hosts)
        assert hosts.forks == 1
        assert forked.log.decode(errors="replace").split("\n") == started.log.decode(errors="replace").split("\n")
        assert forked == started
        return forked


@pytest.fixture
def both(adopting: None, directory: JobDirectory) -> Iterator[Both]:
    """Give what runs scripts both ways, and fail if anything is left of the test's processes."""
    with job_cgroup.inhabit(JOB):
        made = Both(directory)
        yield made
        for hosts in made.opened:
            hosts.close()
    assert warm_process.expected == set()
