"""The queues of Prefect's client, emptied many at a time: nothing is lost, reordered or told otherwise."""

from contextlib import asynccontextmanager
from uuid import uuid4

import prefect
import pytest
from prefect.events.clients import EventsClient
from prefect.events.schemas.events import Event
from prefect.events.worker import EventsWorker
from prefect.logging.handlers import APILogWorker
from prefect.settings import PREFECT_API_URL, PREFECT_CLIENT_SERVER_VERSION_CHECK_ENABLED, temporary_settings

from jobd import prefect_queues
from jobd.task_run_events import StateEvent


class Recording(EventsClient):
    """A client that keeps what it is to send, and cannot send one kind of event."""

    sent: list[Event]

    async def _emit(self, event: Event) -> None:
        if event.event == "unsendable":
            raise OSError("not this one")
        self.sent.append(event)


class Lines(APILogWorker):
    """A worker that keeps its batches, of at most ten lines."""

    batches: list[list[dict]]
    max_batch_size = 10
    min_interval = 0.2

    async def _lifespan_of_nothing(self):
        yield

    async def _handle_batch(self, items):
        self.batches.append(items)

    def _get_size(self, item):
        return 1


@pytest.fixture(autouse=True)
def offline():
    """No server is asked for anything."""
    settings = {PREFECT_API_URL: "http://127.0.0.1:9/api", PREFECT_CLIENT_SERVER_VERSION_CHECK_ENABLED: False}
    with temporary_settings(settings):
        yield


@pytest.fixture
def worker():
    """A worker for events with its queue emptied our way, ended afterwards."""
    assert prefect_queues.empty_queues_at_once()
    Recording.sent = []
    found = EventsWorker.instance(Recording)
    yield found
    found.drain()


def make_event(name, resource="prefect.task-run.1"):
    """Make an event."""
    return Event(event=name, resource={"prefect.resource.id": resource})


def test_it_is_written_for_the_release_that_is_installed():
    """A new release of Prefect must be looked at before its queues are emptied in another way."""
    assert prefect.__version__ == prefect_queues.WRITTEN_FOR, "compare jobd/prefect_queues.py with what it replaces"


def test_another_release_is_left_as_it_is(monkeypatch):
    """For any other release than that, no method may be replaced."""
    untouched = object()
    for kind in (EventsWorker, APILogWorker):
        monkeypatch.setattr(kind, "_main_loop", untouched)
    assert not prefect_queues.empty_queues_at_once("3.99.0")
    assert EventsWorker._main_loop is APILogWorker._main_loop is untouched


def test_events_arrive_in_order_and_one_that_cannot_be_sent_keeps_none_back(worker):
    """All events before and after one that fails must be sent, in the order in which they were told."""
    for number in range(300):
        worker.send(make_event("unsendable" if number == 150 else f"e{number}"))
    worker.drain()
    assert [event.event for event in Recording.sent] == [f"e{number}" for number in range(300) if number != 150]


def test_an_event_that_is_text_already_goes_between_the_others(worker):
    """The events of task runs must be sent as they are, in their turn."""
    text = StateEvent(uuid4(), "told", "{}")
    for event in (make_event("before"), text, make_event("after")):
        worker.send(event)
    worker.drain()
    assert [event.event for event in Recording.sent] == ["before", "told", "after"]
    assert Recording.sent[1] is text
    assert not worker._context_cache


def test_lines_arrive_in_order_in_batches_that_keep_their_bound(monkeypatch):
    """Every line must be in exactly one batch, in order, and no batch be larger than it may."""
    assert prefect_queues.empty_queues_at_once()
    monkeypatch.setattr(Lines, "_lifespan", asynccontextmanager(Lines._lifespan_of_nothing))
    Lines.batches = []
    lines = Lines.instance()
    for number in range(57):
        lines.send({"message": str(number)})
    lines.drain()
    assert [line["message"] for batch in Lines.batches for line in batch] == [str(number) for number in range(57)]
    assert max(map(len, Lines.batches)) <= 10
