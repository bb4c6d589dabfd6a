"""The engine that is Prefect: a job is a flow run, every entry of a step a mapped task run.

Prefect is the engine and the dashboard, never the memory: how a job ended is what its journal says, also when the flow
raises although all work was done.
"""

import threading
from collections.abc import Callable
from contextlib import AbstractContextManager
from copy import copy
from functools import cache
from itertools import islice
from typing import Any

from prefect import Flow, Task, get_run_logger, tags
from prefect.artifacts import create_link_artifact
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas import FlowRun, State
from prefect.context import FlowRunContext, TagsContext
from prefect.flow_engine import run_flow
from prefect.futures import PrefectFuture
from prefect.settings import (
    PREFECT_CLIENT_SERVER_VERSION_CHECK_ENABLED,
    PREFECT_FLOWS_HEARTBEAT_FREQUENCY,
    PREFECT_LOCAL_STORAGE_PATH,
    temporary_settings,
)
from prefect.states import Cancelled, Completed, Failed, Pending

from jobd.engine import Engine
from jobd.flow_client import adopt, sharing_client
from jobd.job_run import JobRun
from jobd.messages import FlowRunId
from jobd.plan import PlanEntry, PlanStep
from jobd.prefect_names import flow_name, flow_run_name, flow_run_tags
from jobd.prefect_queues import empty_queues_at_once
from jobd.states import EntryState, JobState
from jobd.task_runner import make_task_runner

_SHOWN_LINES = 1000
"""At most this many lines of an entry's log are sent to Prefect; all of them are in the entry's own log."""


def engine(flow_run: FlowRunId | None) -> Engine:
    """Give the engine that runs a job as this flow run, or as one that it makes itself."""

    def prefect_flow(run: JobRun) -> None:
        run_as_flow(run, flow_run)

    return prefect_flow


def run_as_flow(run: JobRun, made: FlowRunId | None = None) -> None:
    """Take a job to its end as a Prefect flow run; raises whatever Prefect raises."""
    name = flow_run_name(run.plan.name, run.job_id)
    job_flow = copy(_blank_flow())
    job_flow.fn = _body(run)
    job_flow.name = flow_name(run.plan.name)
    job_flow.version = run.plan.version
    # A name for a run that was made already would be given to it once more.
    job_flow.flow_run_name = None if made else _literal(name)
    job_flow.task_runner = make_task_runner(_threads(run))
    parameters = {"job_id": run.job_id}
    if made is None:
        with tags(*flow_run_tags(run.job_id)):
            run_flow(job_flow, parameters=parameters, return_type="state")
    else:
        flow_run = _as_made(run, made, name)
        adopt(flow_run, run.at_work)
        run_flow(job_flow, flow_run=flow_run, parameters=parameters, return_type="state")


@cache
def _blank_flow() -> Flow[[str], State[Any]]:
    """Make a flow that is nobody's yet; the rehearsal has it made before the fork, as that takes as long as a call."""

    def job_flow(job_id: str) -> State[Any]:
        raise NotImplementedError(f"the flow of job {job_id} was given no body")

    return Flow(
        fn=job_flow,
        name="jobd",
        persist_result=False,
        result_storage=PREFECT_LOCAL_STORAGE_PATH.value(),  # nothing is stored; without it the server is asked where
        validate_parameters=False,
        log_prints=False,
    )


def _as_made(run: JobRun, made: FlowRunId, name: str) -> FlowRun:
    """Say of a flow run what its server would, by what the daemon has made it with."""
    return FlowRun(
        id=made.id,
        flow_id=made.flow_id,
        flow_version=run.plan.version,
        name=name,
        parameters={"job_id": run.job_id},
        tags=flow_run_tags(run.job_id),
        state=Pending(),
    )


def _body(run: JobRun) -> Callable[[str], State[Any]]:
    def job_flow(job_id: str) -> State[Any]:  # noqa: ARG001 - shown in the dashboard
        context = FlowRunContext.get()
        run.begin(str(context.flow_run.id) if context and context.flow_run else "")
        # Task runs that bear tags ask the server for a place under each tag's limit: a call more for each entry.
        with TagsContext(current_tags=set()):
            verdict = run.drive(_StepMapper(run).run_step)
        _list_public(run)
        return _STATES[verdict](run.verdict_message)

    return job_flow


def _threads(run: JobRun) -> int:
    return max((step.threads(run.cpus) for step in run.plan.steps), default=1)


def settings() -> AbstractContextManager[object]:
    """Give the settings of Prefect under which flows run; to be entered once, before the fork, as it takes 0.1 s."""
    empty_queues_at_once()
    ours = {
        # The heartbeat's thread would hold up the end of every run for about a second, and nobody hears its beats.
        PREFECT_FLOWS_HEARTBEAT_FREQUENCY: None,
        # A call less for every client; here it would also keep runners from being forked while the server is away.
        PREFECT_CLIENT_SERVER_VERSION_CHECK_ENABLED: False,
    }
    return temporary_settings(ours)


def client() -> AbstractContextManager[object]:
    """Give the client that every flow run shares; entered before the fork, as making its TLS context takes 25 ms.

    It opens no connection before its first call, and none must be made before the fork: two processes on one
    connection would read each other's answers.
    """
    return sharing_client()


_STATES: dict[JobState, Callable[[str], State[Any]]] = {
    JobState.SUCCEEDED: lambda message: Completed(message=message),
    JobState.FAILED: lambda message: Failed(message=message),
    JobState.CANCELLED: lambda message: Cancelled(message=message),
}

_ENTRY_STATES: dict[EntryState, Callable[[str], State[Any]]] = {
    EntryState.SUCCEEDED: lambda message: Completed(message=message),
    EntryState.FAILED: lambda message: Failed(message=message),
    EntryState.CANCELLED: lambda message: Cancelled(message=message),
    EntryState.SKIPPED: lambda message: Cancelled(name="Skipped", message=message),
}


class _Rest:
    """The tasks of a step that have not ended."""

    def __init__(self, count: int) -> None:
        self.over = threading.Event()
        self._count = count
        self._lock = threading.Lock()

    def strike(self, _future: object) -> None:
        """Take one for done, however it ended."""
        with self._lock:
            self._count -= 1
            if not self._count:
                self.over.set()


class _StepMapper:
    """Maps steps one after another, each task given the futures whose artifacts it takes: they draw the graph."""

    def __init__(self, run: JobRun) -> None:
        self._run = run
        self._makers: dict[str, PrefectFuture[Any]] = {}

    def run_step(self, step: PlanStep) -> None:
        names = [entry.name for entry in step.entries]
        rest = _Rest(len(names))
        futures = self._task(step).map(names, [self._upstream(entry) for entry in step.entries])
        for entry, future in zip(step.entries, futures, strict=True):
            self._makers |= {name: future for binding in entry.outputs for name in binding.artifacts}
            future.add_done_callback(rest.strike)
        rest.over.wait()

    def _upstream(self, entry: PlanEntry) -> list[PrefectFuture[Any]]:
        names = (name for binding in entry.inputs for name in binding.artifacts)
        return list({id(future): future for name in names if (future := self._makers.get(name))}.values())

    def _task(self, step: PlanStep) -> Task[[str, list[Any]], State[Any]]:
        entries = {entry.name: entry for entry in step.entries}

        def run_entry(entry: str, upstream: list[Any]) -> State[Any]:  # noqa: ARG001 - Prefect reads the graph off it
            return self._run_entry(entries[entry])

        return Task(
            fn=run_entry,
            name=step.name,
            task_run_name=f"{_literal(step.name)}/{{entry}}",
            persist_result=False,
            cache_policy=NO_CACHE,
        )

    def _run_entry(self, entry: PlanEntry) -> State[Any]:
        if self._run.finished(entry):
            return Completed(name="Cached", message="it had succeeded under an earlier runner")
        logger = get_run_logger()
        quota = iter(range(_SHOWN_LINES))

        def show(line: str) -> None:
            for _ in islice(quota, 1):
                logger.info("%s", line)

        state, message = self._run.run_entry(entry, show)
        if state is not EntryState.SUCCEEDED:
            logger.error("%s", message)
        return _ENTRY_STATES[state](message)


def _list_public(run: JobRun) -> None:
    """Show the public artifacts in the dashboard, once the job has ended: a slow server must not hold up a step."""
    for artifact in run.plan.artifacts:
        if artifact.public and artifact.step and run.artifacts.path(artifact.name).exists():
            create_link_artifact(
                link=run.artifacts.path(artifact.name).as_uri(),
                link_text=artifact.name,
                description=f"Made by {artifact.step}/{artifact.entry}; "
                f"`jobctl download {run.job_id} {artifact.name}` fetches it.",
            )


def _literal(text: str) -> str:
    """Keep braces of a name from being read as a template."""
    return text.replace("{", "{{").replace("}", "}}")
