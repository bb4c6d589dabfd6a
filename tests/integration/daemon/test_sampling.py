"""What a sample says of the daemon's parts, and what it does not read again."""

import asyncio
from typing import Any

import pytest

from jobd import events, sampling
from jobd.metrics_sample import Sample
from jobd.plan import Capacity
from jobd.reserve import Reserve
from jobd.sampling import Sampler

pytestmark = pytest.mark.timeout(60)


class Nursery:
    """A nursery that has died twice."""

    restarts = 2


def sampler(office: Any) -> Sampler:
    """Make a sampler of an office."""
    return Sampler(
        store=office.store,
        scheduler=office.scheduler,
        capacity=Capacity(cpus=1, counters={"licences": 3}),
        prefect=office.supervisor._launcher._prefect,
        reserve=Reserve(office.state.root, 1000),
        nursery=Nursery(),
        watches=lambda: 7,
    )


async def taken(made: Sampler) -> Sample:
    """Take a sample in another thread, as the server of metrics does."""
    sample = await asyncio.to_thread(made.take)
    assert sample is not None
    return sample


def test_a_sample_tells_jobs_entries_and_capacity(opened):
    """What is leased, what waits, and how many jobs and entries are in which state."""

    async def work() -> None:
        async with opened(cpus=1) as office:
            made = sampler(office)
            first, _second = await office.submit(), await office.submit()
            await office.launched()
            sample = await taken(made)
            assert sample.jobs == {"queued": 2, "running": 0, "cancelling": 0}
            assert (sample.entries["pending"], sum(sample.entries.values())) == (4, 4)
            assert sample.used == {"cpus": 1, "memory_bytes": 0, "gpus": 0, "licences": 0}
            assert sample.capacity == {"cpus": 1, "memory_bytes": 0, "gpus": 0, "licences": 3}
            assert (sample.waiting, sample.watches, sample.nursery_restarts) == (1, 7, 2)
            assert sample.prefect_ready
            assert sample.store_writable
            assert (sample.disk_reserve, sample.disk_free > 0, sample.unrecorded) == (1000, True, 0)
            office.write(first.id, events.JobStarted(flow_run_id="r"), events.EntryWaiting(step="one", entry="copy"))
            await office.ingest.take(first.id)
            sample = await taken(made)
            assert sample.jobs == {"queued": 1, "running": 1, "cancelling": 0}
            assert (sample.entries["pending"], sample.entries["waiting"]) == (3, 1)

    asyncio.run(work())


def test_a_job_that_has_not_changed_is_not_counted_again(opened, monkeypatch):
    """Of ten thousand queued jobs a question costs the ones that changed, and nothing of those that ended is kept."""

    async def work() -> None:
        async with opened() as office:
            made = sampler(office)
            jobs = [await office.submit() for _ in range(3)]
            counted = []
            counter = sampling.Counter
            monkeypatch.setattr(sampling, "Counter", lambda *given: counted.append(given) or counter(*given))
            await taken(made)
            assert len(counted) == 4  # one for each job, and one for the sum
            counted.clear()
            await office.supervisor.cancel(jobs[2].id, "r")
            sample = await taken(made)
            assert len(counted) <= 2
            assert sum(sample.jobs.values()) == len(made._tallies) == len(office.store.live())

    asyncio.run(work())


def test_an_event_loop_that_hangs_gives_no_sample(opened, monkeypatch):
    """The question is given up after its time, and answered again when the loop is back."""

    async def work() -> None:
        async with opened() as office:
            made = sampler(office)
            monkeypatch.setattr(sampling, "_LOOP_SECONDS", 0.2)
            assert made.take() is None  # asked on the loop itself, which therefore cannot answer
            monkeypatch.setattr(sampling, "_LOOP_SECONDS", 30.0)
            assert await taken(made)

    asyncio.run(work())
