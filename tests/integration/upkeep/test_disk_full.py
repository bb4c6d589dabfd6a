"""A full disk under a journal and the store: nothing is torn or lost, and it goes on when there is room."""

import contextlib
import os
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from jobd import events, journal
from jobd.errors import DiskFullError
from jobd.events import Occurrence
from jobd.journal import Journal
from jobd.plan import Plan
from jobd.store import Acceptance, Store


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """Give a disk of 4 MiB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", str(folder)]
    if os.geteuid() != 0 or subprocess.run(mount, capture_output=True, check=False).returncode != 0:
        pytest.skip("this user may not mount a disk in memory")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def fill(disk: Path) -> Path:
    """Take all the room there is; removing what this gives makes room again."""
    path = disk / "fill"
    with contextlib.suppress(OSError), path.open("wb", buffering=0) as file:
        while file.write(bytes(4096)):
            pass
    return path


def status(number: int) -> Occurrence:
    """Give something of some length that happens."""
    return Occurrence(time=float(number), event=events.JobWaiting(reason=f"{number} " + "x" * 1000))


def test_a_line_that_does_not_fit_is_not_torn(disk: Path):
    """What is dropped leaves the journal at the end of its last whole line, and the next line fits behind it."""
    path = disk / "journal"
    with Journal(path, end=0) as lines:
        lines.append([status(1)], durable=True)
        filler = fill(disk)
        for number in range(2, 12):
            lines.append([status(number)], durable=False, wait=False)
        whole = journal.read_all(path)
        assert whole.offset == path.stat().st_size
        kept = len(whole.occurrences)
        assert 1 <= kept < 11
        filler.unlink()
        lines.append([status(99)], durable=True)
    times = [occurrence.time for occurrence in journal.read_all(path).occurrences]
    assert times == [*map(float, range(1, kept + 1)), 99.0]


def test_what_must_be_written_waits_for_room(disk: Path, monkeypatch):
    """Lines that are needed are all there, once each and in order, however often the disk was full between them."""
    path = disk / "journal"
    fillers = []
    full = threading.Event()

    def make_room(_seconds: float) -> None:
        full.set()
        fillers.pop().unlink()

    monkeypatch.setattr(journal, "sleep", make_room)
    with Journal(path, end=0) as lines:
        for number in range(0, 40, 10):
            fillers.append(fill(disk))
            lines.append([status(number + one) for one in range(10)], durable=True)
            assert full.is_set()
            full.clear()
    assert [occurrence.time for occurrence in journal.read_all(path).occurrences] == [*map(float, range(40))]


def test_the_store_says_that_the_disk_is_full_and_goes_on(disk: Path, modules):
    """Every change that does not fit is refused whole; with room again the same store takes the same change."""
    plan: Plan = modules.plan(modules.entry("", outputs=["out.txt"]))
    store = Store(disk / "jobd.db")

    def accept(job_id: str) -> None:
        from jobd.jobs import new_job

        acceptance = Acceptance(
            job=new_job(job_id, plan, submitted=1.0),
            plan=plan,
            document=bytes(200_000),
            request_id=job_id,
            request_digest="d",
            first=(Occurrence(time=1.0, event=events.JobSubmitted()),),
        )
        store.accept(acceptance).result(10)

    accept("aaa")
    filler = fill(disk)
    for _try in range(3):
        with pytest.raises(DiskFullError, match="the disk is full: the store could not be written"):
            accept("bbb")
    assert not store.exists("bbb")
    filler.unlink()
    accept("bbb")
    assert [job.id for job in store.live()] == ["aaa", "bbb"]
    assert store.get("bbb").sequence == len(store.events_after("bbb", 0)) == 1
    store.close()
