"""P1 and P2: a job of many small entries beside a bare pool of the same scripts, and beside its peers."""

import shutil
from pathlib import Path

from benchmarks.bench import Bench
from benchmarks.peers import Peer, Task, installed
from benchmarks.pool import WIDTH, run_pool
from benchmarks.row import Row, Series
from benchmarks.workload import copies, job

_POOL = f"pool of {WIDTH}"


def measure_copies(bench: Bench) -> list[Row]:
    """P1: entries that import what is small."""
    count = bench.pick(500, 100)
    return _measure(bench, "P1", "copy", count, installed(), goal=0.6)


def measure_imports(bench: Bench) -> list[Row]:
    """P2: entries that import numpy and av."""
    return _measure(bench, "P2", "imports", bench.pick(200, 20), [], goal=0.25)


def _measure(bench: Bench, key: str, module: str, count: int, peers: list[Peer], *, goal: float) -> list[Row]:
    daemon = bench.daemon()
    document = job(f"{count} entries", copies(count, module), copies=True)
    pool: list[float] = []
    ours: list[float] = []
    theirs: dict[str, list[float]] = {peer.name: [] for peer in peers}
    for number in range(bench.rounds):
        daemon.settle()  # what is left of the work before must not be a burden to who comes next
        with _Folder(bench.folder / "pool") as out:
            pool.append(run_pool(bench.workload, module, count, out))
        ours.append(daemon.run(document, daemon.copy_input()).seconds)
        bench.say(f"round {number + 1}: pool {pool[-1]:.1f} s, jobd {ours[-1]:.1f} s")
        for peer in peers:
            theirs[peer.name].append(_run_peer(bench, peer, module, count))
            bench.say(f"  {peer.name} {theirs[peer.name][-1]:.1f} s")
    base = Series(tuple(pool))
    what = f"{count} entries" + (" that import numpy and av" if module == "imports" else "")
    rows = [Row(key=key, what=what, unit="s", ours=Series(tuple(ours)), against=_POOL, baseline=base, goal=goal)]
    return rows + [
        Row(key=key, what=f"  {name}", unit="s", ours=Series(tuple(seconds)), against=_POOL, baseline=base)
        for name, seconds in theirs.items()
    ]


def _run_peer(bench: Bench, peer: Peer, module: str, count: int) -> float:
    bench.daemon().settle()
    with _Folder(bench.folder / "peer") as folder:
        prefect = bench.daemon().prefect
        return peer.run(Task(workload=bench.workload, module=module, count=count, folder=folder, prefect=prefect))


class _Folder:
    """A folder that is empty within the block, and gone after it."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __enter__(self) -> Path:
        self._path.mkdir()
        return self._path

    def __exit__(self, *_: object) -> None:
        shutil.rmtree(self._path)
