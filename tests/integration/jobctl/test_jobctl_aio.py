"""The client for asyncio as a user's program uses it."""

import asyncio
import threading
from contextlib import aclosing

import pytest
from jobapi.v1 import job_pb2, job_service_pb2
from jobctl import Client
from jobctl.aio import AsyncClient
from jobctl.endpoint import resolve_endpoint
from jobctl.errors import InvalidInputError, JobNotFoundError, TimedOutError, UnreachableError
from jobctl.patience import Patience

QUICK = Patience(outage=10.0, silence=1.0, first_delay=0.01, last_delay=0.1)


async def watch_sequences(client, **options):
    """Give the sequences of the events that a watch yields."""
    return [item.sequence async for item in client.watch("@latest", **options) if isinstance(item, job_pb2.Event)]


def run(scenario, patience=QUICK):
    """Run a scenario with a client of the fake daemon; the event loop must stay responsive and clean."""

    async def main():
        async with AsyncClient(resolve_endpoint(), patience=patience) as client:
            return await asyncio.wait_for(scenario(client), 60)

    return asyncio.run(main(), debug=True)


@pytest.mark.parametrize("how", ["unavailable", "cancelled", "restart", "repeat", "gap", "silence"])
@pytest.mark.parametrize("after", [1, 7])
def test_each_event_comes_once_whatever_breaks_the_stream(daemon, how, after):
    """A watch yields 1 to 12, in order, across an interruption of each kind."""
    daemon.faults.append((how, after))
    assert run(watch_sequences) == list(range(1, 13))


def test_results_and_errors_are_those_of_the_other_client(daemon, job_file):
    """Answers come typed, and refusals as this package's errors with the daemon's reason."""

    async def scenario(client):
        submitted = await client.submit(job_file, inputs={"input": job_file.parent / "video.mp4"})
        assert isinstance(submitted, job_service_pb2.SubmitResponse)
        assert (await client.wait(submitted.job.id)).artifacts[0].name == "audio.wav"
        assert len([job async for job in client.list_jobs(limit=250)]) == 250
        with pytest.raises(JobNotFoundError) as caught:
            await client.get("nosuch")
        assert (caught.value.reason, caught.value.hint) == ("JOB_NOT_FOUND", "jobctl list")

    run(scenario)


def test_a_submit_is_repeated_while_the_daemon_is_away(daemon, job_file):
    """Three refusals are followed by a fourth try with the same request id."""
    daemon.submit_failures = 3
    run(lambda client: client.submit(job_file))

    assert len({request.request_id for request in daemon.submits}) == 1
    assert len(daemon.submits) == 4


def test_files_travel_both_ways(daemon, tmp_path):
    """An upload arrives whole; a download that breaks goes on, and tells of each piece."""
    daemon.files["audio.wav"] = bytes(range(256)) * 2000
    daemon.faults.append(("unavailable", 2))
    (tmp_path / "in").write_bytes(b"x" * 600_000)
    counts = []

    async def scenario(client):
        upload_id = await client.upload(tmp_path / "in")
        return upload_id, await client.download("@latest", "audio.wav", tmp_path / "out", on_bytes=counts.append)

    upload_id, path = run(scenario)
    assert daemon.uploads[upload_id] == (False, b"x" * 600_000)
    assert path.read_bytes() == daemon.files["audio.wav"]
    assert sum(counts) == 512_000


def test_an_upload_that_cannot_be_made_whole_completes_nothing(daemon, tmp_path):
    """A folder with a link to a folder is refused, and the daemon keeps no part of it."""
    (tmp_path / "in" / "a").mkdir(parents=True)
    (tmp_path / "in" / "b").symlink_to(tmp_path)

    async def scenario(client):
        with pytest.raises(InvalidInputError):
            await client.upload(tmp_path / "in")
        # One more round trip, so that the daemon has seen the end of the call before it.
        await client.upload(tmp_path / "in" / "a")

    run(scenario)
    assert [data for _, data in daemon.uploads.values()] == [bytes(1024)]


@pytest.mark.parametrize("call", ["watch", "wait", "logs"])
def test_cancelling_the_task_ends_the_call(daemon, call):
    """The daemon sees the stream end, the task is cancelled, and the client serves on."""
    left = threading.Event()
    daemon.others["running"] = job_pb2.Job(id="running", state=job_pb2.JOB_STATE_RUNNING)
    daemon.on_break = left.set

    async def drain(client):
        if call == "wait":
            return await client.wait("running")
        stream = client.watch("running") if call == "watch" else client.logs("running", follow=True)
        return [item async for item in stream]

    async def scenario(client):
        task = asyncio.create_task(drain(client))
        await asyncio.to_thread(daemon.held.wait, 30)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert await asyncio.to_thread(left.wait, 30)
        assert (await client.info()).version == "9.9"

    run(scenario, Patience())


def test_leaving_a_watch_ends_its_stream(daemon):
    """Who breaks out of `async for` and closes the generator is heard by the daemon."""
    left = threading.Event()
    daemon.on_break = left.set
    daemon.faults.append(("silence", 3))

    async def scenario(client):
        async with aclosing(client.watch("@latest")) as events:
            async for item in events:
                if isinstance(item, job_pb2.Event):
                    assert await asyncio.to_thread(daemon.held.wait, 30)  # it hears of it where it waits, not before
                    break
        assert await asyncio.to_thread(left.wait, 30)

    run(scenario, Patience())


def test_a_cancelled_download_leaves_nothing_on_the_disk(daemon, tmp_path):
    """What had been received is removed when the task is cancelled."""
    daemon.files["audio.wav"] = bytes(700_000)
    begun = asyncio.Event()

    async def scenario(client):
        target = tmp_path / "out" / "audio.wav"
        task = asyncio.create_task(client.download("@latest", "audio.wav", target, on_bytes=lambda _count: begun.set()))
        await begun.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    run(scenario)
    assert list((tmp_path / "out").iterdir()) == []


def test_the_timeout_and_an_absent_daemon_raise_what_the_other_client_raises(daemon):
    """`TimedOutError` when the time is over, `UnreachableError` when nobody listens."""
    daemon.others["running"] = job_pb2.Job(id="running", state=job_pb2.JOB_STATE_RUNNING)

    async def scenario(client):
        with pytest.raises(TimedOutError):
            await client.wait("running", timeout=0.2)
        await asyncio.to_thread(daemon.stop)
        with pytest.raises(UnreachableError):
            await client.get("running")

    run(scenario, Patience())


def test_many_watches_share_one_loop(daemon):
    """Six at once get every event each; none waits for another."""

    async def scenario(client):
        return await asyncio.gather(*(watch_sequences(client) for _ in range(6)))

    assert run(scenario) == [list(range(1, 13))] * 6


def test_a_closed_client_says_so(daemon):
    """A call after `close`, and a watch that goes on during it, raise this package's error."""

    async def scenario(client):
        events = client.watch("@latest")
        await anext(events)
        await client.close()
        with pytest.raises(UnreachableError):
            [_ async for _ in events]
        with pytest.raises(UnreachableError, match="closed"):
            await client.info()

    daemon.faults.append(("silence", 3))
    run(scenario, Patience())
    client = Client(resolve_endpoint())
    client.close()
    with pytest.raises(UnreachableError, match="closed"):
        client.info()
