"""How Prefect's client empties its queues of events and log lines: whatever waits at once, not one by one.

For each event Prefect has a thread of its own wait for the queue, wakes the event loop with the result, and works out
anew which resources a task run belongs to. Three events for an entry made that more than half of what a runner
computes. Here a wake-up takes all that has come within a moment, and an event that says by itself what it belongs to is
sent as it is. What is sent, and in which order, stays the same.

This replaces methods that Prefect does not promise to keep, so it is done for the one release that it was written for;
any other is left as it is, which costs time and nothing else.
"""

import asyncio
import logging
import queue
from collections import deque
from typing import Any

import prefect
from prefect._internal.concurrency.api import create_call
from prefect._internal.concurrency.cancellation import get_deadline, get_timeout
from prefect.events.schemas.events import Event
from prefect.events.worker import EventsWorker
from prefect.logging.handlers import APILogWorker

from jobd.task_run_events import StateEvent

log = logging.getLogger("jobd.runner")

WRITTEN_FOR = "3.8.8"
_GATHER_SECONDS = 0.1
"""After the first item others may come for so long: how late the dashboard is for that."""


def empty_queues_at_once(version: str = prefect.__version__) -> bool:
    """Replace the methods for the whole process, before the first queue is there; tell whether it was done."""
    if version != WRITTEN_FOR:
        log.info("prefect_queues_as_shipped version=%s written_for=%s", version, WRITTEN_FOR)
        return False
    EventsWorker._main_loop = _send_events  # type: ignore[method-assign, assignment] # noqa: SLF001 - see above
    APILogWorker._main_loop = _send_lines  # type: ignore[method-assign, assignment] # noqa: SLF001 - see above
    return True


async def _send_events(worker: EventsWorker) -> None:
    while True:
        for event in await _take(worker):
            if event is None:  # it is to stop, and nothing comes after that
                worker._queue.task_done()  # noqa: SLF001 - see above
                return
            try:
                await _send(worker, event)
            except Exception as error:  # noqa: BLE001 - as shipped: one that cannot be sent does not keep the others
                log.warning("prefect_event_not_sent event=%s id=%s error=%r", event.event, event.id, error)
            finally:
                worker._queue.task_done()  # noqa: SLF001 - see above


async def _send(worker: EventsWorker, event: Event | StateEvent) -> None:
    if isinstance(event, StateEvent):
        worker._context_cache.pop(event.id, None)  # noqa: SLF001 - see above
        await worker._client.emit(event)  # type: ignore[arg-type] # noqa: SLF001 - it asks for no more of one
    else:
        await worker._handle(event)  # noqa: SLF001 - see above


async def _send_lines(worker: APILogWorker) -> None:
    waiting: deque[dict[str, Any] | None] = deque()
    going_on = True
    while going_on:
        batch: list[dict[str, Any]] = []
        size, most = 0, worker.max_batch_size
        # For the first line as long as it takes, unlike as shipped: who has nothing to send need not wake.
        waiting.extend(() if waiting else await _take(worker))
        deadline = get_deadline(worker.min_interval)
        while going_on and size < most:
            try:
                waiting.extend(() if waiting else await _take(worker, get_timeout(deadline)))
            except queue.Empty:
                break
            line = waiting.popleft()
            going_on = line is not None
            if line is not None:
                batch.append(line)
                size += worker._get_size(line)  # noqa: SLF001 - see above
        await _send_batch(worker, batch)


async def _send_batch(worker: APILogWorker, batch: list[dict[str, Any]]) -> None:
    try:
        if batch:
            await worker._handle_batch(batch)  # noqa: SLF001 - see above
    except Exception as error:  # noqa: BLE001 - as shipped: what cannot be sent does not keep what follows
        log.warning("prefect_lines_not_sent count=%d error=%r", len(batch), error)


async def _take(worker: EventsWorker | APILogWorker, seconds: float | None = None) -> list[Any]:
    """Wait for an item, and give it with all that come within a moment; queue.Empty when the time is up first."""
    waiting = create_call(worker._queue.get, timeout=seconds)  # noqa: SLF001 - see above
    call: Any = worker._queue_get_thread.submit(waiting)  # noqa: SLF001 - see above
    items: list[Any] = [await call.aresult()]
    if items[0] is not None and not worker._stopped:  # noqa: SLF001 - see above
        await asyncio.sleep(_GATHER_SECONDS)
    while True:
        try:
            items.append(worker._queue.get_nowait())  # noqa: SLF001 - see above
        except queue.Empty:
            return items
