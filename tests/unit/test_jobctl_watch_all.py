"""A watch of all jobs on the client's side: goes on by cursor, and the words that choose jobs."""

from collections.abc import Iterator
from datetime import timedelta

import pytest
from jobapi.v1 import job_pb2, job_service_pb2
from jobctl.address import Address
from jobctl.errors import CursorOutOfRangeError, UnreachableError, UsageError
from jobctl.jobs_stream import JobsStream
from jobctl.patience import Patience
from jobctl.selection import parse_moment, parse_selectors
from jobctl.talk import Conversation, Open, Pause, Read
from jobctl.units import now
from jobctl.watch_all_command import format_change

Response = job_service_pb2.WatchJobsResponse


def change(cursor: int) -> Response:
    """Make the message of an event."""
    event = job_pb2.Event(job_id="j1", sequence=cursor, job_succeeded=job_pb2.JobSucceeded())
    return Response(cursor=cursor, change=job_service_pb2.JobChange(name="cut", event=event))


def watch(answers: Iterator[object], stream: JobsStream, count: int) -> tuple[list[int], list[int | None]]:
    """Give the cursors of so many messages, and the cursors that were asked for."""
    found: list[int] = []
    asked: list[int | None] = []
    while len(found) < count:
        conversation = Conversation(stream.next())
        while (wish := conversation.wish) is not None:
            if isinstance(wish, Open):
                asked.append(wish.request.after_cursor if wish.request.HasField("after_cursor") else None)
            if isinstance(wish, Open | Pause):
                conversation.answer(None)
                continue
            assert isinstance(wish, Read)
            answer = next(answers)
            conversation.fail(answer) if isinstance(answer, Exception) else conversation.answer(answer)
        found.append(conversation.result.cursor)
    return found, asked


def make(**request: object) -> JobsStream:
    """Make a stream that waits hardly at all."""
    return JobsStream(
        address=Address.parse("127.0.0.1:1"),
        request=job_service_pb2.WatchJobsRequest(**request),
        patience=Patience(first_delay=0.0, last_delay=0.0),
    )


def test_a_broken_watch_goes_on_after_the_last_cursor():
    """Start, heartbeats and changes all move the cursor that is asked for after an interruption, of whatever kind."""
    start = Response(cursor=5, start=job_service_pb2.WatchJobsStart())
    beat = Response(cursor=9, heartbeat=job_service_pb2.WatchJobsHeartbeat())
    lost = UnreachableError("gone", code="UNAVAILABLE")
    answers = iter([start, lost, start, change(6), beat, None, beat, change(11)])
    assert watch(answers, make(), 2) == ([6, 11], [None, 5, 9])


def test_a_daemon_that_never_served_is_not_waited_for():
    """Without a first answer the error is told at once; so is one that coming again does not change."""
    with pytest.raises(UnreachableError):
        watch(iter([UnreachableError("gone", code="UNAVAILABLE")]), make(), 1)
    with pytest.raises(CursorOutOfRangeError):
        watch(iter([change(3), CursorOutOfRangeError("old", code="OUT_OF_RANGE")]), make(after_cursor=2), 2)


def test_a_removal_and_a_change_are_lines():
    """Each line begins with the job and its name, and no control character of a name reaches the terminal."""
    assert format_change(change(3)).startswith("j1  cut  ")
    removed = job_service_pb2.JobRemoved(job_id="j1", name="c\x1b[2J", state=job_pb2.JOB_STATE_FAILED)
    line = format_change(Response(cursor=4, removed=removed))
    assert line.endswith("removed, FAILED")
    assert "\x1b" not in line


def test_labels_are_chosen_by_value_or_at_all():
    """`K=V` asks for a value, which may be empty or hold `=`; `K` for any; nothing else is a label."""
    found = parse_selectors(["a=b=c", "a=", "a"])
    assert [(item.key, item.value, item.HasField("value")) for item in found] == [
        ("a", "b=c", True),
        ("a", "", True),
        ("a", "", False),
    ]
    for text in ("", "=x"):
        with pytest.raises(UsageError):
            parse_selectors([text])


def test_times_are_ago_or_at():
    """So long ago, a date, a date and time, with or without a zone; everything else is an error that shows how."""
    ago = parse_moment("90m", "--since")
    assert ago is not None
    assert abs(now() - ago - timedelta(minutes=90)) < timedelta(minutes=1)
    assert parse_moment("2026-01-31T14:00+02:00", "--since").isoformat() is not None
    assert parse_moment("2026-01-31T12:00+00:00", "--since") == parse_moment("2026-01-31T14:00+02:00", "--since")
    assert parse_moment("2026-01-31", "--since").tzinfo is not None
    assert parse_moment("", "--since") is None
    for text in ("yesterday", "5x", "-2h", "9999999999999d", "2026-13-01"):
        with pytest.raises(UsageError, match="--until"):
            parse_moment(text, "--until")
