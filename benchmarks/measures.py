"""All measures by their keys."""

from benchmarks.anatomy import measure_anatomy
from benchmarks.barrier import measure_barrier
from benchmarks.bench import Measure
from benchmarks.command_start import measure_commands
from benchmarks.crowd import measure_crowd
from benchmarks.first_line import measure_first_line
from benchmarks.growth import measure_growth
from benchmarks.heavy_log import measure_heavy_log
from benchmarks.idle import measure_idle
from benchmarks.server_cpu import measure_server_cpu
from benchmarks.throughput import measure_copies, measure_imports
from benchmarks.transfer import measure_transfer
from benchmarks.watchers import measure_watchers

MEASURES: dict[str, Measure] = {
    "P1": measure_copies,
    "P2": measure_imports,
    "P3": measure_first_line,
    "P4": measure_barrier,
    "P5": measure_server_cpu,
    "P8": measure_commands,
    "P9": measure_heavy_log,
    "anatomy": measure_anatomy,
    "P6": measure_growth,
    "P7": measure_idle,
    "P10": measure_crowd,
    "watchers": measure_watchers,
    "transfer": measure_transfer,
}
"""In the order in which they are made: those that share a daemon come first."""

USUAL = tuple(key for key in MEASURES if key not in {"watchers", "transfer"})
"""What is measured when nothing is named."""

ABOUT = {
    "P1": "many small entries beside a bare pool and its peers",
    "P2": "the same with large imports",
    "P3": "submit to the first line of a module",
    "P4": "the barrier between two steps",
    "P5": "Prefect server's processor time per task run",
    "P6": "growth with entries and with jobs",
    "P7": "an idle daemon with a long past",
    "P8": "the start of jobctl",
    "P9": "an entry that prints without end",
    "P10": "many jobs at once",
    "anatomy": "where a millisecond goes",
    "watchers": "thousands of watchers of one job",
    "transfer": "upload and download",
}

_LIMIT_SECONDS, _LONG_LIMIT_SECONDS = 360.0, 720.0
_LONG = {"P6", "watchers"}


def limit(key: str) -> float:
    """Tell after how many seconds a measure has broken down: about twice what it takes on two cores."""
    return _LONG_LIMIT_SECONDS if key in _LONG else _LIMIT_SECONDS


def about(key: str) -> str:
    """Say in a few words what a measure is of."""
    return ABOUT[key]
