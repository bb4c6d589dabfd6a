"""The peer `plain Prefect`: a flow that maps a command line, so many at a time; prints the seconds of its call.

python plain_flow.py COUNT WIDTH COMMAND...
"""

import subprocess
import sys
import time

from prefect import flow, task
from prefect.task_runners import ThreadPoolTaskRunner


@task
def run_script(number: int) -> None:
    """Run the command line, its last word being the beginning of the output's name."""
    *command, output = sys.argv[3:]
    subprocess.run([*command, f"{output}-{number}"], check=True)


@flow(task_runner=ThreadPoolTaskRunner(max_workers=int(sys.argv[2])))  # type: ignore[arg-type]
def run_scripts(count: int) -> None:
    """Run all."""
    run_script.map(range(count)).wait()


if __name__ == "__main__":
    begun = time.perf_counter()
    run_scripts(int(sys.argv[1]))
    print(time.perf_counter() - begun)
