"""The engine that needs nothing: a pool of threads. Jobs run through it when Prefect cannot be had or breaks down."""

from concurrent.futures import ThreadPoolExecutor

from jobd.job_run import JobRun
from jobd.plan import PlanEntry, PlanStep


def run_plainly(run: JobRun) -> None:
    """Take a job to its end."""

    def run_entry(entry: PlanEntry) -> None:
        run.run_entry(entry, show=lambda _line: None)

    def run_step(step: PlanStep) -> None:
        with ThreadPoolExecutor(step.threads(run.cpus), thread_name_prefix=step.name) as pool:
            for done in [pool.submit(run_entry, entry) for entry in step.entries]:
                done.result()

    run.drive(run_step)
