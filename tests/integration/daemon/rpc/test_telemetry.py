"""What is counted of calls, and what probes are told."""

import asyncio
import sqlite3
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2
from jobapi.v1 import artifact_service_pb2 as artifact_pb
from jobapi.v1 import job_service_pb2 as pb

from jobd import writer
from jobd.errors import DiskFullError, StorageError
from jobd.reserve import Reserve, Room
from jobd.rpc.health import SERVICES

pytestmark = pytest.mark.timeout(120)

SERVING, NOT_SERVING = health_pb2.HealthCheckResponse.SERVING, health_pb2.HealthCheckResponse.NOT_SERVING
JOBS, ARTIFACTS = "jobapi.v1.JobService", "jobapi.v1.ArtifactService"


def value(client: Any, name: str, **labels: str) -> float | None:
    """Give the value of one series."""
    return client.telemetry.metrics.registry.get_sample_value(name, labels)


async def statuses(client: Any) -> dict[str, int]:
    """Ask for the health of everything."""
    await client.judge.look()
    return {
        name: (await client.health.Check(health_pb2.HealthCheckRequest(service=name))).status
        for name in ("", *SERVICES)
    }


async def until(condition: Any) -> None:
    """Wait until something holds."""
    for _ in range(3000):
        if condition():
            return
        await asyncio.sleep(0.01)
    raise AssertionError("it did not come to hold within half a minute")


def test_calls_are_counted_by_what_became_of_them(serve):
    """Each once under its method and code, a call of a method that does not exist under no name of the client's."""

    async def work(client) -> None:
        job = await client.submit()
        for _ in range(2):
            await client.refused(client.jobs.Get(pb.GetRequest(id="nothing")))
        async with grpc.aio.insecure_channel("unix:jobd.sock") as channel:
            with pytest.raises(grpc.aio.AioRpcError):
                await channel.unary_unary("/jobapi.v1.JobService/Made-Up")(b"")
        await client.jobs.Get(pb.GetRequest(id=job.id))
        get = {"service": JOBS, "method": "Get"}
        assert value(client, "jobd_rpcs_total", **get, code="OK") == 1
        assert value(client, "jobd_rpcs_total", **get, code="NOT_FOUND") == 2
        assert value(client, "jobd_rpc_duration_seconds_count", **get) == 3
        assert value(client, "jobd_rpcs_in_flight", **get) == 0
        assert value(client, "jobd_rpcs_total", service="unknown", method="unknown", code="UNIMPLEMENTED") == 1

    serve(work)


def test_a_watch_is_open_until_its_client_hangs_up(serve):
    """It counts as open from its first message on, and as cancelled when the client goes."""

    async def work(client) -> None:
        job = await client.submit()
        call = client.jobs.Watch(pb.WatchRequest(id=job.id))
        await call.read()
        assert client.telemetry.watches == 1
        call.cancel()
        await until(lambda: client.telemetry.watches == 0)
        assert value(client, "jobd_rpcs_total", service=JOBS, method="Watch", code="CANCELLED") == 1

    serve(work)


@pytest.mark.parametrize("kind", ["watch", "watch_jobs"])
def test_only_what_happens_during_a_watch_can_be_late(serve, kind: str):
    """The history that a watch begins with is not counted; each event after it is, once."""

    async def work(client) -> None:
        job = await client.submit()
        await client.happen(job.id, *client.running)  # dated to the year 1970
        call = client.jobs.Watch(pb.WatchRequest(id=job.id)) if kind == "watch" else client.jobs.WatchJobs(
            pb.WatchJobsRequest()
        )  # fmt: skip
        await call.read()
        await until(lambda: client.telemetry.watches == 1)
        await client.jobs.Cancel(pb.CancelRequest(id=job.id))
        await until(lambda: (value(client, "jobd_event_send_lag_seconds_count") or 0) >= 1)
        assert value(client, "jobd_event_send_lag_seconds_count") == 1
        assert value(client, "jobd_event_send_lag_seconds_sum") < 60
        call.cancel()

    serve(work)


def test_bytes_of_files_are_counted_both_ways(serve):
    """What came in with an upload, and what went out with a download, headers left out."""

    async def work(client) -> None:
        pieces = [artifact_pb.UploadRequest(data=b"x" * size) for size in (1000, 0, 500)]
        await client.artifacts.Upload(iter(pieces))
        assert value(client, "jobd_transfer_bytes_total", direction="in") == 1500
        job = await client.submit()
        await client.happen(job.id, *client.running, *client.done)
        (client.office.state.job(job.id).artifacts / "out.txt").write_bytes(b"0123456789")
        await client.drained(client.artifacts.Download(artifact_pb.DownloadRequest(job_id=job.id, name="out.txt")))
        assert value(client, "jobd_transfer_bytes_total", direction="out") == 10

    serve(work)


def test_a_short_disk_takes_those_services_out_that_take_on_work(serve):
    """The daemon as a whole and what needs no room go on; with room again all do."""

    async def work(client) -> None:
        room = Room(free_bytes=10, all_bytes=1 << 40, free_files=0, all_files=0)
        client.judge._reserve = Reserve(client.office.state.root, 100, look=lambda _path: room)
        short = await statuses(client)
        assert {name for name, status in short.items() if status == NOT_SERVING} == {JOBS, ARTIFACTS}
        client.judge._reserve = Reserve(client.office.state.root, 0)
        assert set((await statuses(client)).values()) == {SERVING}

    serve(work)


def test_a_disk_that_does_not_answer_is_no_reason_to_fall_over(serve):
    """An error from the file system itself counts as a shortage."""

    async def work(client) -> None:
        def fail(_path: Any) -> Room:
            raise OSError(5, "Input/output error")

        client.judge._reserve = Reserve(client.office.state.root, 100, look=fail)
        assert (await statuses(client))[JOBS] == NOT_SERVING

    serve(work)


def test_a_store_that_refuses_writes_takes_the_daemon_out_until_one_goes_through(serve, monkeypatch):
    """It is noticed by whoever writes, and its end by a probe, without anybody's call."""

    async def work(client) -> None:
        assert set((await statuses(client)).values()) == {SERVING}
        store = client.office.store

        def refuse(*_arguments: Any) -> None:
            raise StorageError("the store could not be written: attempt to write a readonly database")

        with monkeypatch.context() as broken:
            broken.setattr(type(store), "_record", refuse)
            broken.setattr(writer, "_write_something", refuse)
            code, _reason, _text = await client.refused(client.jobs.Submit(client.request()))
            assert code == "UNAVAILABLE"
            out = await statuses(client)
            assert {name for name, status in out.items() if status == NOT_SERVING} == {"", JOBS, ARTIFACTS}
            client.judge._probed = 0.0
            assert (await statuses(client))[""] == NOT_SERVING
            # An answer without a write, as the watchdog asks for, is no sign that the disk is back.
            await asyncio.wrap_future(store.answer())
            assert (await statuses(client))[""] == NOT_SERVING
        client.judge._probed = 0.0
        assert set((await statuses(client)).values()) == {SERVING}

    serve(work)


def test_a_full_disk_is_told_by_a_commit_that_fails(serve, monkeypatch):
    """What SQLite says at the commit itself counts as well, for everybody in it."""

    async def work(client) -> None:
        store = client.office.store

        def full(_connection: Any) -> None:
            error = sqlite3.OperationalError("database or disk is full")
            error.sqlite_errorcode = sqlite3.SQLITE_FULL
            raise error

        monkeypatch.setattr(writer, "_try", lambda connection, _change: full(connection))
        with pytest.raises(DiskFullError):
            await asyncio.wrap_future(store.answer())
        assert "disk is full" in store.trouble
        monkeypatch.undo()
        await asyncio.wrap_future(store.probe())
        assert store.trouble == ""

    serve(work)
