"""A crash at every commit point of submit, start, publish, finish, recover and cancel, one by one."""

import json
import signal
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

import invariants
import processes
import pytest
from done import Done
from quiet import check_world
from shapes import Shape, content
from torment import probe_document
from watchers import Follower
from world import World

RUN = (
    *("submit.copied", "submit.accepted", "submit.enqueued", "store.before.job_submitted", "store.committed"),
    *("launch.assigned", "launch.forked", "nursery.forked", "runner.born", "runner.locked"),
    *("journal.before.job_started", "journal.after.job_started", "ingest.read", "store.before.job_started"),
    *("journal.before.entry_waiting", "journal.after.entry_waiting"),
    *("journal.before.entry_started", "journal.after.entry_started", "store.before.entry_started"),
    *("journal.before.entry_retrying", "journal.after.entry_retrying", "store.before.entry_retrying"),
    *("publish.synced", "publish.renamed", "entry.release"),
    *("journal.before.entry_succeeded", "journal.after.entry_succeeded", "store.before.entry_succeeded"),
    *("remove.removed", "journal.before.artifact_removed", "journal.after.artifact_removed"),
    *("journal.before.step_succeeded", "journal.after.step_succeeded"),
    *("journal.before.job_succeeded", "journal.after.job_succeeded", "store.before.job_succeeded"),
    *("runner.done", "check.taken", "check.ended"),
)
"""Points that a job which succeeds comes by."""
FAIL = (
    *("journal.before.entry_failed", "journal.after.entry_failed", "store.before.entry_failed"),
    *("journal.before.entry_skipped", "journal.after.entry_skipped"),
    *("journal.before.job_failed", "journal.after.job_failed", "store.before.job_failed"),
)
CANCEL = (
    *("store.before.job_cancelling", "cancel.recorded"),
    *("journal.before.entry_cancelled", "journal.after.entry_cancelled", "store.before.entry_cancelled"),
    *("journal.before.job_cancelled", "journal.after.job_cancelled", "store.before.job_cancelled"),
)
RECOVER = ("check.taken", "recover.begun", "recover.killed", "store.before.job_recovering", "recover.recorded")
SECONDS = 60.0

T = TypeVar("T")


class Points:
    """The folder in which points are armed."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir()

    def arm(self, name: str, order: str = "kill") -> None:
        """Have the next process that comes by do this."""
        part = self.folder / "part"
        part.write_text(order)
        part.rename(self.folder / name)

    def taken(self, name: str) -> bool:
        """Tell whether somebody came by."""
        return (self.folder / f"{name}.taken").exists()

    def clear(self) -> None:
        """Disarm everything."""
        for path in self.folder.iterdir():
            path.unlink()


class Bench:
    """A world without Prefect, in which one job after another meets a crash."""

    def __init__(self, folder: Path) -> None:
        self.points = Points(folder / "points")
        self.world = World(
            folder / "w", prefect_api_url="http://127.0.0.1:9/api", grace=0, failpoints=folder / "points"
        )
        self.done = Done()
        self.shape: Shape
        self._count = self._offset = 0
        self.settle()

    def settle(self) -> None:
        """Disarm everything, and have one daemon and one nursery: what a test finds, and leaves behind."""
        self.points.clear()
        self.until(lambda: self.world.alive and len(processes.nurseries(self.world.state)) == 1)

    def submit(self, *, fate: str = "well", seconds: float = 0.1) -> Follower:
        """Submit the one shape of these tests, over deaths of the daemon; give who follows the job."""
        self._count += 1
        self._offset = len(self.world.log)
        self.done = Done()
        self.shape = shape_of(self.world.ledger, f"crash-{self._count}", fate, seconds)
        job_id = self.ask(lambda: self.world.submit(self.shape.document, self.shape.name))
        self.done.job_ids[0] = job_id
        self.done.followers.append(Follower(self.world, job_id))
        return self.done.followers[0]

    def ask(self, call: Callable[[], T]) -> T:
        """Make a call whose answer may need another daemon than the one that heard it first."""
        with ThreadPoolExecutor(1) as pool:
            answer = pool.submit(call)
            self.until(answer.done)
            return answer.result()

    def until(self, condition) -> None:
        """Wait for something, and start the daemon whenever it is dead."""
        deadline = time.monotonic() + SECONDS
        while not condition():
            assert time.monotonic() < deadline, "it does not come to that; the log ends with\n" + self.world.log[-3000:]
            if not self.world.alive:
                self.world.start()
            time.sleep(0.02)

    def finish(self) -> None:
        """Wait for the job's end, and see that every promise was kept and nothing is held."""
        (follower,) = self.done.followers
        self.until(lambda: follower.ended)
        self.probe()
        shapes = {self.done.job_ids[0]: self.shape}
        assert list(check_world(self.world, set(shapes), self.world.log[self._offset :])) == []
        assert list(invariants.check_schedule(self.world, shapes, self.done)) == []

    def probe(self) -> None:
        """See that a job of full capacity runs: nothing is held, and every runner wished for before has been born."""
        self._count += 1
        name = f"probe-{self._count}"
        job_id = self.ask(lambda: self.world.submit(probe_document(self.world.ledger), name))
        probe = Follower(self.world, job_id)
        self.until(lambda: probe.ended)

    def cancel(self) -> None:
        """Ask for the job's end; the answer may need another daemon."""
        job_id = self.done.job_ids[0]
        self.done.cancelled.add(job_id)
        self.ask(lambda: self.world.cancel(job_id))

    def kill_runner(self) -> None:
        """Kill the job's runner."""
        job_id = self.done.job_ids[0]
        assert processes.send(processes.runner_of(self.world.job_folder(job_id)), signal.SIGKILL)
        self.done.runner_kills[job_id] += 1


def shape_of(ledger: Path, name: str, fate: str, seconds: float) -> Shape:
    """Make the one shape of these tests; `fate` is that of the second step's entry."""

    def entry(name: str, makes: str, uses: list[str], params: dict[str, object], **keys: object) -> dict[str, object]:
        outputs = [{"name": makes, "param_name": "output", "type": "data", "public": makes == "z.bin"}]
        inputs = [{"name": use, "param_name": "input", "type": "data"} for use in uses]
        params = {"ledger": str(ledger), "seconds": seconds} | params
        return {
            "module": "fault",
            "name": name,
            "input_artifacts": inputs,
            "output_artifacts": outputs,
            "params": params,
        } | keys

    first = [entry("e0", "a.bin", [], {}), entry("e1", "b.bin", [], {"failures": 1}, retries=1)]
    steps = [
        {"name": "s0", "entries": first},
        {"name": "s1", "entries": [entry("e0", "z.bin", ["a.bin", "b.bin"], {"fate": fate})]},
        {"name": "s2", "entries": [entry("e0", "y.bin", ["a.bin"], {})]},
    ]
    held = {"a.bin": content(("s0", "e0"), []), "b.bin": content(("s0", "e1"), [])}
    held |= {
        "z.bin": content(("s1", "e0"), [held["a.bin"], held["b.bin"]]),
        "y.bin": content(("s2", "e0"), [held["a.bin"]]),
    }
    makers = {"a.bin": ("s0", "e0"), "b.bin": ("s0", "e1"), "z.bin": ("s1", "e0"), "y.bin": ("s2", "e0")}
    return Shape(
        name=name,
        document=json.dumps({"name": name, "steps": steps}).encode(),
        artifacts=held,
        public=frozenset({"z.bin"}),
        makers=makers,
        step_of={key: int(key[0][1]) for key in makers.values()},
        doomed=fate == "exit",
    )


@pytest.fixture(scope="module")
def the_bench(tmp_path_factory, process_guard) -> Iterator[Bench]:
    """The world of all these tests."""
    bench = Bench(tmp_path_factory.mktemp("c"))
    yield bench
    bench.points.clear()
    assert bench.world.close() == {}


@pytest.fixture
def bench(the_bench: Bench) -> Iterator[Bench]:
    """The world, with nothing armed and a living daemon."""
    the_bench.settle()
    yield the_bench
    the_bench.settle()


@pytest.mark.parametrize("point", RUN)
def test_a_job_succeeds_over_a_crash(bench: Bench, point: str):
    """Whoever dies at this point of a job's way, it succeeds, once."""
    bench.points.arm(point)
    follower = bench.submit()
    bench.until(lambda: bench.points.taken(point))
    bench.finish()
    assert follower.seen[-1][1] == "job_succeeded"


@pytest.mark.parametrize("point", FAIL)
def test_a_job_fails_over_a_crash(bench: Bench, point: str):
    """Whoever dies while a job fails, it fails, once, and by what its module did."""
    bench.points.arm(point)
    follower = bench.submit(fate="exit")
    bench.until(lambda: bench.points.taken(point))
    bench.finish()
    assert follower.seen[-1][1] == "job_failed"


@pytest.mark.parametrize("point", CANCEL)
def test_a_cancel_holds_over_a_crash(bench: Bench, point: str):
    """Whoever dies during a cancel, the job is cancelled, once, and nothing of it lives."""
    bench.points.arm(point)
    follower = bench.submit(fate="hang")
    bench.until(lambda: ("s1", "e0") in started(bench))
    bench.cancel()
    bench.until(lambda: bench.points.taken(point))
    bench.finish()
    assert follower.seen[-1][1] == "job_cancelled"


@pytest.mark.parametrize("point", RECOVER)
def test_a_recovery_holds_over_a_crash(bench: Bench, point: str):
    """A daemon that dies while it takes care of a runner's death leaves that to the next one."""
    follower = bench.submit(seconds=0.5)
    bench.until(lambda: ("s0", "e0") in started(bench))
    bench.points.arm(point)
    bench.kill_runner()
    bench.until(lambda: bench.points.taken(point))
    bench.finish()
    assert follower.seen[-1][1] == "job_succeeded"


def test_a_cancel_during_a_recovery_counts(bench: Bench):
    """A cancel that is asked for while a dead runner's leftovers are killed ends the job."""
    follower = bench.submit(seconds=0.5)
    bench.until(lambda: ("s0", "e0") in started(bench))
    bench.points.arm("recover.killing", "delay 1")
    bench.kill_runner()
    bench.until(lambda: bench.points.taken("recover.killing"))
    bench.cancel()
    bench.finish()
    assert follower.seen[-1][1] == "job_cancelled"


def test_a_job_that_is_cancelled_while_it_is_launched_never_runs(bench: Bench):
    """A cancel that is answered between a job's grant and its runner's birth is the end of it."""
    bench.points.arm("launch.writing", "delay 1")
    follower = bench.submit()
    bench.until(lambda: bench.points.taken("launch.writing"))
    bench.cancel()
    bench.finish()
    assert follower.seen[-1][1] == "job_cancelled"
    assert started(bench) == set()


def test_a_nursery_that_sleeps_long_starts_a_job_once(bench: Bench):
    """A wish for a runner that is heard late, after the job was given up and wished for again, does no harm."""
    (nursery,) = processes.nurseries(bench.world.state)
    bench.probe()
    processes.send(nursery, signal.SIGSTOP)
    try:
        follower = bench.submit()
        assignment = bench.world.job_folder(follower.job_id) / "assignment.json"
        bench.until(assignment.exists)
        first = launch(assignment)
        bench.until(lambda: launch(assignment) not in ("", first))
    finally:
        processes.send(nursery, signal.SIGCONT)
    bench.finish()
    assert follower.seen[-1][1] == "job_succeeded"


def launch(assignment: Path) -> str:
    """Give the name of the start that a runner is wished for; nothing while the job has none."""
    try:
        return json.loads(assignment.read_text())["launch"]
    except FileNotFoundError:
        return ""


def test_a_runner_that_is_born_after_its_job_was_cancelled_does_nothing(bench: Bench):
    """A wish for a runner that is heard after the job was cancelled runs nothing, and no process stays."""
    (nursery,) = processes.nurseries(bench.world.state)
    bench.probe()
    processes.send(nursery, signal.SIGSTOP)
    try:
        follower = bench.submit()
        bench.until((bench.world.job_folder(follower.job_id) / "assignment.json").exists)
        bench.cancel()
        bench.until(lambda: follower.ended)
    finally:
        processes.send(nursery, signal.SIGCONT)
    bench.finish()
    assert follower.seen[-1][1] == "job_cancelled"
    assert started(bench) == set()


def started(bench: Bench) -> set[tuple[str, str]]:
    """Give the entries of the job that have started, as their modules say."""
    lines = invariants.ledger.read(bench.world.ledger)
    return {line.key for line in lines if line.job_id == bench.done.job_ids[0] and line.kind == "start"}
