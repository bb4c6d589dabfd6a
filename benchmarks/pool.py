"""What jobd is compared with: the same scripts, two at a time, without anything around them."""

import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from benchmarks.daemon import environment
from benchmarks.workload import Workload

WIDTH = 2
"""How many scripts run at once, here and under the daemon."""


def run_pool(workload: Workload, module: str, count: int, out: Path) -> float:
    """Run a copying script so many times; give the seconds it took."""
    env = environment(workload.folder)

    def run(number: int) -> None:
        subprocess.run(copy_command(workload, module, out / str(number)), env=env, check=True)

    begun = time.perf_counter()
    with ThreadPoolExecutor(WIDTH) as pool:
        list(pool.map(run, range(count)))
    return time.perf_counter() - begun


def copy_command(workload: Workload, module: str, output: Path | str) -> list[str]:
    """Give the command line of one run of a copying script."""
    return [sys.executable, str(workload.script(module)), "--input", str(workload.input), "--output", str(output)]
