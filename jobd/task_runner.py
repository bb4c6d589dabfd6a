"""The task runner of a flow: it runs the entries of a step in threads, and tells Prefect of each as of a task run.

Prefect's own, with its task engine, does the same and more: retries, results, caches, transactions, hooks. None of that
is used here, and it took a runner as long as everything else for an entry; from the end of a step to the next process
it was most of the time. For another release of Prefect than the one that it was compared with, Prefect's own is used.
"""

import logging
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from functools import cache
from types import TracebackType
from typing import Any, Self
from uuid import UUID

import prefect
from prefect import Task
from prefect._internal.uuid7 import uuid7
from prefect.client.schemas import State, TaskRun
from prefect.client.schemas.objects import RunInput
from prefect.context import FlowRunContext, TaskRunContext
from prefect.events.worker import EventsWorker
from prefect.futures import PrefectConcurrentFuture, PrefectFuture
from prefect.logging import get_run_logger
from prefect.states import Failed
from prefect.task_runners import TaskRunner, ThreadPoolTaskRunner

from jobd.prefect_queues import WRITTEN_FOR
from jobd.task_run_events import FlowRunName, StateEvent, TaskRunEvents

log = logging.getLogger("jobd.runner")

Future = PrefectConcurrentFuture[State[Any]]


def make_task_runner(threads: int, version: str = prefect.__version__) -> TaskRunner[Any]:
    """Give the task runner for a flow that runs as many tasks at once."""
    return EntryTaskRunner(threads) if version == WRITTEN_FOR else ThreadPoolTaskRunner(max_workers=threads)


class EntryTaskRunner(TaskRunner[Future]):
    """Runs tasks that give their own last state, and whose parameters are values or lists of futures."""

    def __init__(self, threads: int) -> None:
        """Prepare to run as many tasks at once."""
        super().__init__()  # type: ignore[no-untyped-call]
        self._threads = threads
        self._pool: ThreadPoolExecutor | None = None

    def duplicate(self) -> Self:
        """Give one of its kind that is not started."""
        return type(self)(self._threads)

    def __enter__(self) -> Self:
        """Start, within the context of the flow run."""
        super().__enter__()
        self._pool = ThreadPoolExecutor(self._threads, thread_name_prefix="entry")
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc_value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Wait for every task, and stop."""
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)
            self._pool = None
        super().__exit__(exc_type, exc_value, traceback)

    def submit(
        self,
        task: Task[..., Any],
        parameters: dict[str, Any],
        wait_for: Iterable[PrefectFuture[Any]] | None = None,  # noqa: ARG002 - steps wait for one another
        dependencies: dict[str, set[RunInput]] | None = None,  # noqa: ARG002 - the futures tell them
    ) -> Future:
        """Run a task once a thread is free; Prefect hears of it when that is so."""
        if self._pool is None:
            raise RuntimeError("the task runner is not started")
        task_run_id = uuid7()
        running = self._pool.submit(copy_context().run, _run, task, task_run_id, parameters)
        return PrefectConcurrentFuture(task_run_id=task_run_id, wrapped_future=running)


def _run(task: Task[..., Any], task_run_id: UUID, parameters: dict[str, Any]) -> State[Any]:
    """Run a task, telling of its states."""
    flow_run = _flow_run_name()
    name = str(task.task_run_name).format(**parameters)
    told = TaskRunEvents(
        run_id=task_run_id,
        name=name,
        task_key=task.task_key,
        flow_run=flow_run,
        inputs={parameter: _runs_behind(value) for parameter, value in parameters.items()},
    )
    with _context(task, id=task_run_id, flow_run_id=flow_run.id, name=name):
        _tell(told.enter(uuid7(), "PENDING", "Pending"))
        _tell(told.enter(uuid7(), "RUNNING", "Running"))
        try:
            state: State[Any] = task.fn(**parameters)
        except Exception as error:  # noqa: BLE001 - as Prefect does; the flow finds that the entry has no end
            get_run_logger().exception("Task run failed with exception: %r", error)
            state = Failed(message=f"Task run encountered an exception {type(error).__name__}: {error}")
        _tell(told.enter(state.id, state.type.value, state.name or "", state.message or "", final=True))
        get_run_logger().log(logging.INFO if state.is_completed() else logging.ERROR, "Finished in state %s", state)
    return state


def _context(task: Task[..., Any], **task_run: object) -> TaskRunContext:
    """Make the context by which Prefect's loggers know a task run; of all that it may hold they ask no more."""
    context, run = _blank_context()
    return context.model_copy(update={"task": task, "task_run": run.model_copy(update=task_run)})


@cache
def _blank_context() -> tuple[TaskRunContext, TaskRun]:
    """Make the models once: a copy is made in a tenth of the time."""
    nothing: dict[str, Any] = {}
    return TaskRunContext.model_construct(**nothing), TaskRun.model_construct(**nothing)


def _flow_run_name() -> FlowRunName:
    context = FlowRunContext.get()
    if context is None or context.flow_run is None or context.flow is None:
        raise RuntimeError("tasks are run within a flow run")
    flow_run = context.flow_run
    return FlowRunName(
        id=flow_run.id,
        name=flow_run.name,
        flow_id=flow_run.flow_id,
        flow_name=context.flow.name,
        tags=flow_run.tags,
        run_count=flow_run.run_count,
    )


def _runs_behind(value: object) -> list[UUID]:
    """Give the task runs whose futures a parameter holds."""
    return [item.task_run_id for item in value if isinstance(item, PrefectFuture)] if isinstance(value, list) else []


def _tell(event: StateEvent) -> None:
    """Have an event sent; what cannot be costs a line of the log, as in Prefect, and the record is repaired later."""
    try:
        EventsWorker.instance().send(event)  # type: ignore[arg-type] # it asks for no more of one
    except Exception as error:  # noqa: BLE001 - whatever Prefect raises, the entry goes on
        log.warning("prefect_event_not_sent event=%s id=%s error=%r", event.event, event.id, error)
