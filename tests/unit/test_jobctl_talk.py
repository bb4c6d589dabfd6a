"""Calls as talks: what they wish for, and what they make of what becomes of it."""

import inspect
import io
from contextlib import redirect_stdout

import pytest
from jobapi.v1 import job_pb2, job_service_pb2
from jobctl import Client
from jobctl.address import Address
from jobctl.aio import AsyncClient
from jobctl.errors import DrainingError, JobNotFoundError, TimedOutError, UnreachableError
from jobctl.operations import Operations
from jobctl.patience import Patience
from jobctl.talk import Ask, Conversation, Open, Pause, Read, SilenceError, Work

AWAY = UnreachableError("away", code="UNAVAILABLE")
OPERATIONS = Operations(address=Address(socket="/s"), patience=Patience(first_delay=2.0, tries=3))


def make_event(sequence, kind="entry_waiting"):
    """Make a message of a watch."""
    event = job_pb2.Event(sequence=sequence)
    getattr(event, kind).SetInParent()
    return job_service_pb2.WatchResponse(event=event)


def make_snapshot(state="JOB_STATE_RUNNING", sequence=0):
    """Make the first message of a watch."""
    return job_service_pb2.WatchResponse(snapshot=job_pb2.Job(id="job1", state=state, last_sequence=sequence))


def act(talk, became):
    """Play the world: what becomes of each wish is taken from a list. Gives the result and the wishes."""
    conversation, wishes = Conversation(talk), []
    while conversation.wish is not None:
        wishes.append(conversation.wish)
        what = became.pop(0)
        conversation.fail(what) if isinstance(what, Exception) else conversation.answer(what)
    return conversation.result, wishes


def test_a_watch_asks_again_after_what_it_has_seen():
    """After a broken stream it pauses, opens one from the last sequence on, and drops what comes twice."""
    stream = OPERATIONS.watch("@latest")
    assert act(stream.next(), [None, make_snapshot()])[0].id == "job1"
    assert act(stream.next(), [make_event(1)])[0].sequence == 1
    snapshot, wishes = act(stream.next(), [AWAY, None, None, make_snapshot()])

    assert snapshot.id == "job1"
    assert list(map(type, wishes)) == [Read, Pause, Open, Read]
    assert 0 < wishes[1].seconds <= 2
    assert (wishes[2].request.id, wishes[2].request.after_sequence, wishes[2].patient) == ("job1", 1, True)
    assert act(stream.next(), [make_event(1), make_event(2, "job_succeeded")])[0].sequence == 2
    assert act(stream.next(), []) == (None, [])


def test_a_gap_in_the_events_is_an_interruption():
    """An event that skips a number is not passed on; the watch asks again for what is missing."""
    stream = OPERATIONS.watch("job1")
    act(stream.next(), [None, make_snapshot()])
    _, wishes = act(stream.next(), [make_event(2), None, None, make_snapshot()])

    assert list(map(type, wishes)) == [Read, Pause, Open, Read]


def test_silence_is_an_interruption_or_the_timeout():
    """A stream without a sign of life is opened anew; when the time given is over as well, it is that."""
    stream = OPERATIONS.watch("job1")
    act(stream.next(), [None, make_snapshot()])
    assert act(stream.next(), [SilenceError(), None, None, make_snapshot()])[0].id == "job1"

    hurried = OPERATIONS.watch("job1", timeout=1e-9)
    with pytest.raises(TimedOutError):
        act(hurried.next(), [None, SilenceError()])


def test_patience_ends_with_the_error():
    """What fails again and again without progress raises the last error, and so does what is not transient."""
    stream = OPERATIONS.watch("job1", resuming=True)
    with pytest.raises(UnreachableError):
        act(stream.next(), [None, AWAY, None] * 4)
    with pytest.raises(JobNotFoundError):
        act(OPERATIONS.watch("job1", resuming=True).next(), [None, JobNotFoundError("gone", code="NOT_FOUND")])


def test_a_submit_is_repeated_word_for_word():
    """Each try sends the same request, with the same request id."""
    answer = job_service_pb2.SubmitResponse(existed=True)
    draining = DrainingError("draining", code="UNAVAILABLE")
    result, wishes = act(OPERATIONS.submit(b"name: x"), [b"name: x", draining, None, AWAY, None, answer])

    assert result.existed
    asked = [wish.request for wish in wishes if isinstance(wish, Ask)]
    assert len(asked) == 3
    assert len({request.request_id for request in asked}) == 1
    assert isinstance(wishes[0], Work)


def test_a_broken_download_goes_on_where_it_broke(tmp_path):
    """The second stream begins at the first byte that is missing; nothing is there before the last one is."""
    from jobapi.v1.artifact_service_pb2 import DownloadHeader, DownloadResponse, DownloadTrailer

    target = tmp_path / "a.wav"
    conversation = Conversation(OPERATIONS.download("job1", "a.wav", target))
    rest = "ca978112ca1bbdcafac231b39a23dc4da786eff8147c4e72b9807785afee48bb"  # of the letter a
    messages = [
        DownloadResponse(header=DownloadHeader(size_bytes=3)),
        DownloadResponse(data=b"xx"),
        AWAY,
        DownloadResponse(data=b"a"),
        DownloadResponse(trailer=DownloadTrailer(sha256=rest)),
    ]
    offsets = []
    while (wish := conversation.wish) is not None:
        assert not target.exists()
        if isinstance(wish, Open):
            offsets.append(wish.request.offset)
        what = messages.pop(0) if isinstance(wish, Read) else wish.function() if isinstance(wish, Work) else None
        conversation.fail(what) if isinstance(what, Exception) else conversation.answer(what)

    assert offsets == [0, 2]
    assert target.read_bytes() == b"xxa"
    assert [path.name for path in tmp_path.iterdir()] == ["a.wav"]


def test_a_talk_that_is_closed_leaves_nothing_behind(tmp_path):
    """A download that is broken off removes what it had received."""
    talk = OPERATIONS.download("job1", "a", tmp_path / "a")
    conversation = Conversation(talk)
    assert list(tmp_path.iterdir())
    conversation.close()
    assert list(tmp_path.iterdir()) == []


def public(kind):
    """Give the methods that two clients must share, by name; how each is opened and closed is its own."""
    own = {"__enter__", "__exit__", "__aenter__", "__aexit__", "close"}
    return {name: value for name, value in vars(kind).items() if not name.startswith("_") and name not in own}


def test_both_clients_have_the_same_methods():
    """Names, parameters, defaults and docstrings are one and the same; results differ in how they arrive."""
    assert public(Client).keys() == public(AsyncClient).keys()
    assert public(Client).keys() - {"connect"} == public(Operations).keys() - {"address", "patience"}
    for name in public(Client):
        ours, theirs = getattr(Client, name), getattr(AsyncClient, name)
        assert inspect.signature(ours).parameters == inspect.signature(theirs).parameters, name
        assert ours.__doc__ == theirs.__doc__, name
        assert ours.__doc__, name
    assert inspect.signature(Client).parameters == inspect.signature(AsyncClient).parameters


def test_methods_that_stream_are_to_be_iterated_and_others_to_be_awaited():
    """What one client yields, the other yields to `async for`; what one returns, the other is awaited for."""
    for name in public(Client).keys() - {"connect"}:
        ours = str(inspect.signature(getattr(Client, name)).return_annotation)
        theirs = str(inspect.signature(getattr(AsyncClient, name)).return_annotation)
        streams = name in {"watch", "watch_jobs", "logs", "list_jobs"}
        assert ours.startswith("Iterator[") == theirs.startswith("AsyncGenerator[") == streams, name
        assert inspect.iscoroutinefunction(getattr(AsyncClient, name)) != streams, name


def test_help_shows_what_a_method_takes_and_gives():
    """`help(Client.cancel)` is as good as if the method had been written out."""
    text = io.StringIO()
    with redirect_stdout(text):
        help(Client.cancel)

    assert "cancel(self, job_id: str, reason: str = '') -> 'jobapi.v1.job_pb2.Job'" in text.getvalue()
    assert "Ask for a job's end" in text.getvalue()
