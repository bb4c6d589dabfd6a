"""`make bench-watch`: thousands of watchers of one job: when the last one knows, and what each costs the daemon."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing import get_context
from multiprocessing.connection import Connection

from jobapi.v1 import job_service_pb2 as pb

from benchmarks import processes
from benchmarks.bench import Bench
from benchmarks.daemon import BenchmarkError, Daemon
from benchmarks.row import Row, row
from benchmarks.run import at, kind
from benchmarks.watching import Receipts, watch_many
from benchmarks.workload import job

_PROCESSES = 4


@dataclass(frozen=True, slots=True)
class _Spread:
    """When an event was made, and when the first and the last watcher had it."""

    made: float
    first: float
    last: float


def measure_watchers(bench: Bench) -> list[Row]:
    """Have everybody watch one job whose module tells of its progress every two seconds."""
    count, beats = bench.pick(2000, 200), bench.pick(10, 3)
    daemon = bench.daemon()
    daemon.settle()
    # Long enough for everybody to be there before the events that are looked at.
    job_id = daemon.submit(job("watched", [{"module": "beat", "params": {"count": beats + bench.pick(30, 5)}}]))
    before = processes.proportional_mib([daemon.process.pid])
    cpu = processes.cpu_seconds([daemon.process.pid])
    with _watchers(daemon, job_id, count) as pipes:
        last_there = max(float(str(pipe.recv())) for pipe in pipes)
        mib = processes.proportional_mib([daemon.process.pid]) - before
        bench.say(f"{count} watchers are there")
        receipts = [_received(pipe) for pipe in pipes]
    cpu = processes.cpu_seconds([daemon.process.pid]) - cpu
    spreads, events = _spreads(receipts, count, last_there)
    bench.say(f"{events} events to {count} watchers each")
    return _rows(
        count, spreads, mib, f"{cpu * 1e6 / (events * count):.0f} us of the daemon's processor time per message"
    )


def _rows(count: int, spreads: list[_Spread], mib: float, note: str) -> list[Row]:
    key, who = "watchers", f"{count:,} watchers: "
    return [
        row(key, who + "event to first watcher", "ms", [(each.first - each.made) * 1000 for each in spreads],
            note="journal, ingest and commit are in it"),
        row(key, who + "first to last watcher", "ms", [(each.last - each.first) * 1000 for each in spreads], note=note),
        row(key, who + "event to last watcher", "ms", [(each.last - each.made) * 1000 for each in spreads],
            note="commit to last lies between this and the line before"),
        row(key, who + "memory of the daemon for each", "KiB", [mib * 1024 / count]),
    ]  # fmt: skip


def _spreads(receipts: list[Receipts], count: int, since: float) -> tuple[list[_Spread], int]:
    """Bring together what all processes saw; BenchmarkError unless every watcher had every event."""
    found: list[_Spread] = []
    raws = {raw for part in receipts for raw in part}
    events = 0
    for raw in raws:
        message = pb.WatchResponse.FromString(raw)
        if message.WhichOneof("message") != "event":
            continue
        events += 1
        seen = [part[raw] for part in receipts if raw in part]
        if sum(receipt.count for receipt in seen) != count:
            number = sum(receipt.count for receipt in seen)
            raise BenchmarkError(f"{number} of {count} watchers had event {message.event.sequence}")
        made = at(message.event)
        if kind(message.event) == "entry_progress" and made > since:
            found.append(_Spread(made, min(receipt.first for receipt in seen), max(receipt.last for receipt in seen)))
    if not found:
        raise BenchmarkError("the job had ended before all watchers were there; give it more beats")
    return found, events


def _received(pipe: "Connection[object, object]") -> Receipts:
    answer = pipe.recv()
    if isinstance(answer, dict):
        return answer
    raise BenchmarkError(f"a watching process broke down: {answer}")


@contextmanager
def _watchers(daemon: Daemon, job_id: str, count: int) -> "Iterator[list[Connection[object, object]]]":
    """Have processes that watch, each with its part of the watchers; give the pipes they tell through."""
    context = get_context("spawn")
    pipes, started = [], []
    try:
        for _ in range(_PROCESSES):
            ours, theirs = context.Pipe()
            process = context.Process(target=watch_many, args=(daemon.address, job_id, count // _PROCESSES, theirs))
            process.start()
            pipes.append(ours)
            started.append(process)
        yield pipes
    finally:
        for process in started:
            process.join(10)
            process.kill()
            process.join()
