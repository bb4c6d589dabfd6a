"""What drives a job's entries, Prefect or a pool of threads, and within which bounds."""

import contextvars
import logging
import threading
from collections.abc import Callable

from jobd.job_run import JobRun
from jobd.plain import run_plainly
from jobd.states import JobState

log = logging.getLogger("jobd.runner")

BEGIN_SECONDS = 20.0
"""An engine that has not begun the job by then has lost it."""
END_SECONDS = 20.0
"""How long an engine may go on after the job's end."""

Engine = Callable[[JobRun], None]
"""Takes a job to its end in the calling thread. It may raise, or never return."""


def run_to_end(run: JobRun, engine: Engine) -> JobState | None:
    """Run through `engine` as long as it keeps its bounds, and do plainly whatever it leaves undone.

    Gives the state that the job ended in; None when nothing could bring it to its end.
    """
    context = contextvars.copy_context()
    thread = threading.Thread(target=context.run, args=(_engage, engine, run), name="engine", daemon=True)
    thread.start()
    if not run.wait_begun(BEGIN_SECONDS) and run.begin_without_flow():
        log.warning("engine_given_up engine=%s", engine.__name__)
    else:
        while thread.is_alive() and run.verdict is None:
            thread.join(1.0)
        # The job is done; what is left is the engine's own affair, and it gets a bounded time for it.
        thread.join(END_SECONDS)
    if run.verdict is None:
        _attempt(run_plainly, run)
    return run.verdict


def _engage(engine: Engine, run: JobRun) -> None:
    _attempt(engine, run)
    run.begin_without_flow()  # one that broke down before it had begun is not waited for


def _attempt(engine: Engine, run: JobRun) -> None:
    try:
        engine(run)
    except BaseException:  # what Prefect breaks off with is no Exception
        # What it has done is in the journal, and what it has not is left to whoever comes next.
        log.exception("engine_failed engine=%s", engine.__name__)
