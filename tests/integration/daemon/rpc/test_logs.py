"""Logs over the wire: several in the order of writing, their tails, all attempts, and going on after a break."""

import asyncio
import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from jobapi.v1 import job_service_pb2 as pb

from jobd import events
from jobd.events import Failure, FailureKind
from jobd.log_times import LogTimes, times_path

pytestmark = pytest.mark.timeout(120)

DOCUMENT = b"""\
name: pair
version: 1.0
input_artifacts: [{param_name: input, type: text}]
steps:
  - name: one
    entries:
      - name: a
        module: copy
        input_artifacts: [{name: in.txt, param_name: input, type: text}]
        output_artifacts: [{name: a.txt, param_name: output, type: text}]
      - name: b
        module: copy
        input_artifacts: [{name: in.txt, param_name: input, type: text}]
        output_artifacts: [{name: b.txt, param_name: output, type: text, public: true}]
"""
A, B = {"step": "one", "entry": "a"}, {"step": "one", "entry": "b"}
FAILURE = Failure(kind=FailureKind.EXIT_CODE, message="it exited with code 1", exit_code=1)


async def begin(client: Any) -> tuple[str, Path, Path]:
    """Have a job of two entries that both run; give its id and their logs."""
    job = await client.submit(job_yaml=DOCUMENT)
    started = [events.EntryStarted(**at, attempt=1, pid=1) for at in (A, B)]
    waiting = [events.EntryWaiting(**at) for at in (A, B)]
    await client.happen(job.id, events.JobStarted(flow_run_id=""), *waiting, *started)
    paths = [client.office.state.job(job.id).log("one", name, 1) for name in "ab"]
    for path in paths:
        path.parent.mkdir(parents=True)
    return job.id, *paths


async def end(client: Any, job_id: str) -> None:
    """Let both entries, and the job, end well."""
    ended = [events.EntrySucceeded(**at, attempt=1) for at in (A, B)]
    await client.happen(job_id, *ended, events.JobSucceeded())


def write(path: Path, *parts: tuple[float, bytes]) -> None:
    """Write a log whose parts were seen at these times; the last is as old as the file."""
    data = b""
    with times_path(path).open("wb") as marks:
        for time, part in parts[:-1]:
            data += part
            marks.write(LogTimes.pack(time, len(data)))
    path.write_bytes(data + parts[-1][1])
    os.utime(path, (parts[-1][0],) * 2)


async def read(client: Any, job_id: str, **request: Any) -> list[tuple[str, int, int, bytes]]:
    """Read a stream of logs to its end, as entry, attempt, offset and bytes."""
    call = client.jobs.Logs(pb.LogsRequest(id=job_id, **request))
    return [(piece.entry, piece.attempt, piece.offset, piece.data) async for piece in call]


def whole(pieces: Sequence[tuple[str, int, int, bytes]], entry: str) -> bytes:
    """Put the bytes of one entry together."""
    return b"".join(data for name, _attempt, _offset, data in pieces if name == entry)


def test_logs_come_in_the_order_of_writing(serve):
    """What two entries wrote in turns comes in turns, in whole lines, and every byte of it once."""

    async def work(client) -> None:
        job_id, a, b = await begin(client)
        write(a, (1.0, b"a1\na2 begins"), (3.0, b" and ends\n"), (5.0, b"a3\nno end"))
        write(b, (2.0, b"b1\n"), (4.0, b"b2\n"))
        await end(client, job_id)
        pieces = await read(client, job_id)
        assert [(entry, data) for entry, _attempt, _offset, data in pieces] == [
            ("a", b"a1\n"),
            ("b", b"b1\n"),
            ("a", b"a2 begins and ends\n"),
            ("b", b"b2\n"),
            ("a", b"a3\nno end"),
        ]
        assert [offset for entry, _attempt, offset, _data in pieces if entry == "a"] == [0, 3, 22]
        assert whole(await read(client, job_id, step="one", entry="a"), "a") == a.read_bytes()

    serve(work)


def test_a_line_longer_than_a_piece_is_split(serve):
    """A line of 200,000 bytes does not hold a log up, and nothing of it is lost."""

    async def work(client) -> None:
        job_id, a, b = await begin(client)
        a.write_bytes(b"x" * 200_000 + b"\nshort\n" + b"y" * 70_000)
        b.write_bytes(b"b\n")
        await end(client, job_id)
        pieces = await read(client, job_id)
        assert whole(pieces, "a") == a.read_bytes()
        assert max(len(data) for _entry, _attempt, _offset, data in pieces) <= 64 << 10

    serve(work)


def test_several_logs_are_followed_as_they_grow(serve):
    """While entries run, whole lines arrive; a line without its end waits for it, or for the end of its entry."""

    async def work(client) -> None:
        job_id, a, b = await begin(client)
        call = aiter(client.jobs.Logs(pb.LogsRequest(id=job_id, follow=True)))
        a.write_bytes(b"a1\nhalf")
        assert (await anext(call)).data == b"a1\n"
        b.write_bytes(b"b1\n")
        assert (await anext(call)).data == b"b1\n"
        with a.open("ab") as file:
            file.write(b" and whole\nrest")
        assert (await anext(call)).data == b"half and whole\n"
        await end(client, job_id)
        assert [piece.data async for piece in call] == [b"rest"]

    serve(work)


@pytest.mark.parametrize(
    ("count", "expected"), [(0, b""), (1, b"five"), (2, b"four\nfive"), (4, b"two\n\nfour\nfive"), (99, None)]
)
def test_a_tail_is_found_by_the_daemon(serve, count: int, expected: bytes | None):
    """So many of the last lines come, after an empty piece that tells where they begin."""

    async def work(client) -> None:
        job_id, a, b = await begin(client)
        a.write_bytes(b"one\n" + b"z" * 100_000 + b"\ntwo\n\nfour\nfive")
        b.write_bytes(b"last\n")
        await end(client, job_id)
        pieces = await read(client, job_id, tail_lines=count)
        size = a.stat().st_size
        tail = a.read_bytes() if expected is None else expected
        assert [piece[:3] for piece in pieces[:2]] == [("a", 1, size - len(tail)), ("b", 1, 0 if count else 5)]
        assert [data for _entry, _attempt, _offset, data in pieces[:2]] == [b"", b""]
        assert whole(pieces, "a") == tail
        assert whole(pieces, "b") == (b"last\n" if count else b"")

    serve(work)


def test_every_attempt_is_told(serve):
    """With all attempts the first comes first; without, only the latest; one that is named comes alone."""

    async def work(client) -> None:
        job_id, a, _b = await begin(client)
        a.write_bytes(b"failed\n")
        retrying = events.EntryRetrying(**A, attempt=1, failure=FAILURE, delay_seconds=1)
        again = (events.EntryWaiting(**A), events.EntryStarted(**A, attempt=2, pid=3))
        await client.happen(job_id, retrying, *again)
        a.with_name("2.log").write_bytes(b"worked\n")
        await client.happen(job_id, events.EntrySucceeded(**A, attempt=2))
        one = {"step": "one", "entry": "a"}
        assert await read(client, job_id, **one, all_attempts=True) == [
            ("a", 1, 0, b"failed\n"),
            ("a", 2, 0, b"worked\n"),
        ]
        assert await read(client, job_id, **one) == [("a", 2, 0, b"worked\n")]
        assert await read(client, job_id, **one, attempt=1) == [("a", 1, 0, b"failed\n")]
        positions = [pb.LogPosition(**one, attempt=1, offset=4)]
        assert await read(client, job_id, **one, after=positions) == [("a", 1, 4, b"ed\n"), ("a", 2, 0, b"worked\n")]

    serve(work)


def test_several_logs_are_gone_on_with_after_a_break(serve):
    """Broken off after each piece and asked for again after what was had, logs come whole, each byte once."""

    async def work(client) -> None:
        job_id, a, b = await begin(client)
        write(a, *((2.0 * n, b"a%d\n" % n) for n in range(1, 9)))
        write(b, *((2.0 * n + 1, b"b%d\n" % n) for n in range(1, 9)))
        await end(client, job_id)
        had: dict[str, bytes] = {"a": b"", "b": b""}
        while True:
            after = [
                pb.LogPosition(step="one", entry=entry, attempt=1, offset=len(data)) for entry, data in had.items()
            ]
            call = client.jobs.Logs(pb.LogsRequest(id=job_id, after=after))
            piece = await anext(aiter(call), None)
            call.cancel()
            if piece is None:
                break
            assert piece.offset == len(had[piece.entry])
            had[piece.entry] += piece.data
        assert had == {"a": a.read_bytes(), "b": b.read_bytes()}

    serve(work)


def test_what_contradicts_itself_is_refused(serve):
    """Two beginnings at once, places that are none, and logs that are gone end with a reason."""

    async def work(client) -> None:
        job_id, a, _b = await begin(client)
        a.write_bytes(b"a\n")
        at = pb.LogPosition(**A, attempt=1, offset=1)
        for rest, reason in [
            ({"tail_lines": -1}, "INVALID_REQUEST"),
            ({**A, "offset": 1, "tail_lines": 1}, "INVALID_REQUEST"),
            ({"after": [at], "tail_lines": 1}, "INVALID_REQUEST"),
            ({"attempt": 1, "all_attempts": True}, "INVALID_REQUEST"),
            ({"after": [pb.LogPosition(**A, attempt=0, offset=0)]}, "INVALID_REQUEST"),
            ({"after": [pb.LogPosition(step="one", entry="c", attempt=1)]}, "INVALID_REQUEST"),
            ({"after": [pb.LogPosition(**A, attempt=1, offset=3)]}, "OFFSET_OUT_OF_RANGE"),
        ]:
            told = await client.refused(client.jobs.Logs(pb.LogsRequest(id=job_id, **rest)))
            assert told[1] == reason, rest
        await end(client, job_id)
        await asyncio.to_thread(shutil.rmtree, client.office.state.job(job_id).logs)
        assert (await client.refused(client.jobs.Logs(pb.LogsRequest(id=job_id))))[:2] == ("NOT_FOUND", "LOGS_REMOVED")

    serve(work)
