"""Running one module without a daemon, by the daemon's own rules: its checks, invocation, limits and judgement."""

import contextlib
import json
import os
import select
import signal
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType

from jobd import events, job_cgroup, procfs
from jobd.artifacts import ArtifactStore, copy_in
from jobd.attempt import Attempt, Cancelled, Failed, Succeeded
from jobd.attempt_run import run_attempt
from jobd.backoff import delay_before
from jobd.capacity import parse_capacity
from jobd.catalog import Module
from jobd.document import Plain
from jobd.events import JobEvent
from jobd.layout import StateDirectory
from jobd.module_check import TargetExistsError
from jobd.names import ascii_controls
from jobd.params import Param, ParamType
from jobd.plan import Capacity, Plan, PlanEntry
from jobd.planner import make_plan
from jobd.yaml_reader import read_plain

_STEP = "run"
_LOOK_SECONDS = 0.1
Outcome = Succeeded | Failed | Cancelled


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What a module is to be run on."""

    inputs: tuple[tuple[str, Path], ...] = ()
    """The files it takes, by parameter; one that takes many is named several times."""
    outputs: Mapping[str, str] = field(default_factory=dict)
    """How the files it makes are to be called, by parameter; the parameter itself where nothing is said."""
    params: tuple[tuple[str, str], ...] = ()
    """Its options, as they were typed."""


def plan_run(module: Module, wanted: Wanted) -> Plan:
    """Make the plan of a job with this one entry; InvalidJobError with every violation, as for any job."""
    return make_plan(_write_job(module, wanted), {module.name: module}, _capacity_for(module))


def run_module(plan: Plan, wanted: Wanted, target: Path, *, replace: bool = False) -> tuple[Outcome, list[Path]]:
    """Run the plan's one entry in a folder of its own, show its log, and move what it made to `target`.

    A first Ctrl-C ends it as a cancel does. InvalidInputError for an input that cannot be read, TargetExistsError for
    a result that is there already.
    """
    target = target.expanduser().absolute()
    [entry] = plan.steps[0].entries
    made = [name for binding in entry.outputs for name in binding.artifacts]
    if taken := [name for name in made if os.path.lexists(target / name) and not replace]:
        raise TargetExistsError(f"{target / taken[0]} is there already: replace it with --force, or choose --to")
    target.mkdir(parents=True, exist_ok=True)
    # Below the target, so that results are renamed into place and never half there.
    with tempfile.TemporaryDirectory(prefix=".jobd-", dir=target) as folder:
        bench = _Bench(Path(folder), entry, wanted)
        outcome = bench.run()
        paths = [bench.deliver(name, target / name) for name in made] if isinstance(outcome, Succeeded) else []
    return outcome, paths


class _Bench:
    """The folder of a job, with its inputs in place."""

    def __init__(self, root: Path, entry: PlanEntry, wanted: Wanted) -> None:
        self._entry = entry
        self._job_id = f"try{os.getpid()}"
        self._directory = StateDirectory(root).job(self._job_id)
        self._directory.artifacts.mkdir(parents=True)
        self._store = ArtifactStore(self._directory.artifacts)
        names = iter(name for binding in entry.inputs for name in binding.artifacts)
        given = sorted(wanted.inputs, key=lambda item: [binding.param_name for binding in entry.inputs].index(item[0]))
        for name, (_, path) in zip(names, given, strict=True):
            copy_in(path, self._store.path(name))

    def run(self) -> Outcome:
        """Run attempts as the daemon does, until one succeeds, the last has failed, or Ctrl-C."""
        # As a runner does: what the module starts must not get away, and gains no rights.
        procfs.become_subreaper()
        procfs.forbid_new_privileges()
        with job_cgroup.inhabit(self._job_id), _interruptible() as wake_fd, ThreadPoolExecutor(1) as pool:
            number = 1
            while True:
                attempt = self._make_attempt(number, wake_fd)
                # In a thread: what this process is handed by the kernel must not be mistaken for what it started.
                running = pool.submit(run_attempt, attempt, lambda _line: None)
                _follow(attempt.log, running)
                outcome = running.result()
                if not (isinstance(outcome, Failed) and self._may_retry(outcome, number)):
                    return outcome
                delay = delay_before(number)
                _say(f"attempt {number} failed, next in {delay:.1f} s: {outcome.failure.message}")
                if select.select([wake_fd], [], [], delay)[0]:
                    return Cancelled("interrupted")
                number += 1

    def deliver(self, name: str, target: Path) -> Path:
        """Move a result to where it was asked for."""
        ArtifactStore(target.parent).remove(target.name)
        self._store.path(name).rename(target)
        return target

    def _may_retry(self, outcome: Failed, number: int) -> bool:
        return number <= self._entry.retries and outcome.may_be_retried(self._entry)

    def _make_attempt(self, number: int, wake_fd: int) -> Attempt:
        return Attempt(
            job_id=self._job_id,
            entry=self._entry,
            number=number,
            directory=self._directory,
            artifacts=self._store,
            record=_tell,
            wake_fd=wake_fd,
            stop_reason=lambda: "interrupted",
        )


def _tell(*happened: JobEvent, durable: bool = False, wait: bool = True) -> bool:  # noqa: ARG001 - as every record
    for event in happened:
        if isinstance(event, events.EntryProgress):
            percent = f"{event.percent:.0f} %" if event.percent is not None else ""
            _say("  ".join(part for part in (percent, event.status or "") if part))
    return True


def _say(text: str) -> None:
    print(f"jobd: {ascii_controls(text)}", file=sys.stderr, flush=True)


def _follow(log: Path, running: "Future[Outcome]") -> None:
    """Copy the log to standard error as it grows; on a terminal nothing in it can touch more than its own line."""
    place = 0
    while True:
        ended = running.done()
        with contextlib.suppress(FileNotFoundError), log.open("rb") as file:
            file.seek(place)
            while data := file.read(1 << 16):
                place += len(data)
                _show(data)
        if ended:
            return
        with contextlib.suppress(TimeoutError):
            running.exception(timeout=_LOOK_SECONDS)


def _show(data: bytes) -> None:
    if sys.stderr.isatty():
        text = data.decode(errors="backslashreplace")
        data = "\n".join(map(ascii_controls, text.split("\n"))).encode()
    sys.stderr.buffer.write(data)
    sys.stderr.flush()


@contextlib.contextmanager
def _interruptible() -> Iterator[int]:
    """Give a descriptor that becomes readable with the first Ctrl-C or SIGTERM; a second one ends this process."""
    read_end, write_end = os.pipe()
    numbers = (signal.SIGINT, signal.SIGTERM)
    before: list[Callable[[int, FrameType | None], object] | int | None] = [signal.getsignal(item) for item in numbers]

    def interrupt(_number: int, _frame: FrameType | None) -> None:
        os.write(write_end, b"!")
        for item in numbers:
            signal.signal(item, signal.SIG_DFL)

    for number in numbers:
        signal.signal(number, interrupt)
    try:
        yield read_end
    finally:
        for number, handler in zip(numbers, before, strict=True):
            signal.signal(number, handler)
        os.close(read_end)
        os.close(write_end)


def _capacity_for(module: Module) -> Capacity:
    """Give a machine that has what the module asks for: what an operator would lend it is not known here."""
    asked = module.manifest.resources
    cpus = max(parse_capacity("").cpus, asked.cpus or 0)
    return Capacity(cpus=cpus, gpus=asked.gpus or 0, counters=asked.counters or {})


def _write_job(module: Module, wanted: Wanted) -> bytes:
    """Write the job file that means this run: JSON, but for options, whose words are read as YAML would."""
    types = {file.param_name: file.type for file in module.manifest.inputs}
    types |= {file.param_name: file.type for file in module.manifest.outputs}
    used = [
        {"name": f"{number}-{path.name}", "param_name": param, "type": types.get(param, "file")}
        for number, (param, path) in enumerate(wanted.inputs, 1)
    ]
    # Two inputs may have one name; but where they do not, a module sees the names that the user knows.
    if len({path.name for _, path in wanted.inputs}) == len(wanted.inputs):
        for item, (_, path) in zip(used, wanted.inputs, strict=True):
            item["name"] = path.name
    names = {file.param_name: file.param_name for file in module.manifest.outputs} | dict(wanted.outputs)
    made = [
        {"name": name, "param_name": param, "type": types.get(param, "file"), "public": True}
        for param, name in names.items()
    ]
    given = [{"name": item["name"], "param_name": item["param_name"], "type": item["type"]} for item in used]
    kinds = {param.name: param for param in module.manifest.params}
    params = ", ".join(f"{json.dumps(name)}: {_write_value(text, kinds.get(name))}" for name, text in wanted.params)
    entry = json.dumps({"module": module.name, "input_artifacts": used, "output_artifacts": made})
    entry = f'{entry[:-1]}, "params": {{{params}}}}}'
    job = json.dumps({"name": module.name, "input_artifacts": given})
    return f'{job[:-1]}, "steps": [{{"name": "{_STEP}", "entries": [{entry}]}}]}}'.encode()


def _write_value(text: str, param: Param | None) -> str:
    means_more = param is not None and param.type is not ParamType.STRING and isinstance(read_plain(text), Plain)
    return text if means_more else json.dumps(text)
