"""The machine a run was made on: without it a figure means nothing."""

import os
import platform
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """What was measured on, and how busy it was when the run began."""

    cores: int
    cpu: str
    memory_gib: float
    kernel: str
    python: str
    load: float
    """The load average of the minute before."""

    def same_kind(self, other: "Machine") -> bool:
        """Tell whether figures of both may stand in one table."""
        return (self.cores, self.cpu, self.kernel, self.python) == (other.cores, other.cpu, other.kernel, other.python)

    def describe(self) -> str:
        """Describe it in one line."""
        parts = (f"{self.cores} cores", self.cpu, f"{self.memory_gib:.0f} GiB", f"Linux {self.kernel}")
        return ", ".join((*parts, f"Python {self.python}", f"load {self.load:.2f} at the start"))


def this_machine() -> Machine:
    """Look at this machine now."""
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    pages = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return Machine(
        cores=len(os.sched_getaffinity(0)),
        cpu=models[0] if models else platform.machine(),
        memory_gib=round(pages / 2**30, 1),
        kernel=platform.release(),
        python=platform.python_version(),
        load=round(os.getloadavg()[0], 2),
    )
