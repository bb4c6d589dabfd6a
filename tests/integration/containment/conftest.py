"""Attempts of scripts that misbehave, contained in either way that there is, and a check that nothing is left."""

import os
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from jobd import cgroup, job_cgroup, procfs
from jobd.artifacts import ArtifactStore
from jobd.attempt import Attempt, Cancelled, Failed, Succeeded
from jobd.attempt_run import run_attempt
from jobd.containment import NOTHING_ASKED, Containment
from jobd.events import JobEvent
from jobd.layout import JobDirectory
from jobd.plan import Binding, PlanEntry

FOLDER = Path(__file__).parent / "awkward"
JOB = f"awkward-{os.getpid()}"

Outcome = Succeeded | Failed | Cancelled


@dataclass
class Awkward:
    """Runs scripts as attempts and checks after each that it left nothing."""

    directory: JobDirectory
    contained: bool
    told: list[JobEvent] = field(default_factory=list)
    shown: list[str] = field(default_factory=list)
    containment: Containment = NOTHING_ASKED

    def run(self, script: str, **rest: Any) -> Outcome:
        """Run a script of the folder, or one that is given as text; give what it came to."""
        outcome = self.run_unchecked(script, **rest)
        if self.told:  # it was started
            # In a sandbox it has told numbers that mean others outside.
            self._check_gone([] if rest.get("sandbox") else self._left())
        return outcome

    def run_unchecked(self, script: str, **rest: Any) -> Outcome:
        """Run a script of which there is nothing to check afterwards."""
        folder, name = (FOLDER, script) if script.endswith(".py") else (self._write(script), "main.py")
        return self._run(folder, name, **rest)

    def run_in(self, folder: Path, name: str, **rest: Any) -> Outcome:
        """Run the script of this name in a folder; give what it came to."""
        outcome = self._run(folder, name, **rest)
        self._check_gone([] if rest.get("sandbox") else self._left())
        return outcome

    def _run(self, folder: Path, name: str, **rest: Any) -> Outcome:
        outputs = (Binding(param_name="output", artifacts=tuple(rest.pop("outputs", ()))),)
        values = {"grace": 0.3, "outputs": outputs} | rest
        entry = PlanEntry(step="step", name="entry", module=name, folder=str(folder), entrypoint=name, **values)
        wake_fd, wake_end = os.pipe()
        try:
            return run_attempt(self._attempt(entry, wake_fd), self.shown.append)
        finally:
            os.close(wake_fd)
            os.close(wake_end)

    @property
    def log(self) -> Path:
        """Where the output of the attempt is."""
        return self.directory.log("step", "entry", 1)

    def _write(self, script: str) -> Path:
        folder = self.directory.root / "module"
        folder.mkdir(exist_ok=True)
        (folder / "main.py").write_text(script)
        return folder

    def _attempt(self, entry: PlanEntry, wake_fd: int) -> Attempt:
        return Attempt(
            job_id=JOB,
            entry=entry,
            number=1,
            directory=self.directory,
            artifacts=ArtifactStore(self.directory.artifacts),
            record=self._record,
            wake_fd=wake_fd,
            stop_reason=lambda: "",
            containment=self.containment,
        )

    def _record(self, *happened: JobEvent, durable: bool = False, wait: bool = True) -> bool:
        self.told.extend(happened)
        return True

    def _left(self) -> list[procfs.Process | None]:
        return [procfs.process(int(pid)) for pid in re.findall(rb"left (\d+)", self.log.read_bytes()[:1000])]

    def _check_gone(self, left: list[procfs.Process | None]) -> None:
        assert left == [None] * len(left)
        assert list(procfs.find(session=self.told[0].pid, mark=f"JOBD_JOB_ID={JOB}".encode())) == []
        assert not self.directory.scratch("step", "entry", 1).exists()
        assert {path.name for path in _cgroups()} <= {"runner"}


def _cgroups() -> list[Path]:
    home = cgroup.base()
    return [] if home is None else list((home / "jobd" / JOB).glob("*/"))


@pytest.fixture
def awkward_class() -> type[Awkward]:
    """Give what runs awkward modules, for tests that choose the places themselves."""
    return Awkward


@pytest.fixture(params=["cgroup", "sweep"])
def awkward(request, adopting: None, directory: JobDirectory, monkeypatch: pytest.MonkeyPatch) -> Iterator[Awkward]:
    """Give a runner of awkward modules, in cgroups where they can be made, and again without."""
    contained = request.param == "cgroup"
    if contained and cgroup.base() is None:
        pytest.skip("no cgroup v2 can be made here")
    if contained:
        with job_cgroup.inhabit(JOB):
            yield Awkward(directory, contained)
        assert _cgroups() == []
    else:
        monkeypatch.setattr(job_cgroup, "base", lambda: None)
        yield Awkward(directory, contained)


@pytest.fixture
def fail(awkward: Awkward) -> Callable[..., Any]:
    """Give a function that runs a script which is to fail, and gives why it did."""

    def run(script: str, **rest: Any) -> Any:
        outcome = awkward.run(script, **rest)
        assert isinstance(outcome, Failed), outcome
        return outcome.failure

    return run
