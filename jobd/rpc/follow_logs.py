"""Streaming the logs of entries in the order in which they were written, and on as they grow."""

import asyncio
from collections.abc import AsyncIterator, Iterator, Sequence
from itertools import islice

from jobapi.v1 import job_service_pb2 as pb

from jobd.errors import InvalidRequestError, LogsRemovedError
from jobd.jobs import Entry, Job
from jobd.layout import JobDirectory
from jobd.log_feed import Key, LogFeed, Piece, Place
from jobd.log_files import check_offset, find_tail, select_entries
from jobd.rpc.watch import Watcher
from jobd.states import TERMINAL_ENTRY_STATES

_LOOK_SECONDS = 0.25
"""How often growing logs are looked at: modules write to files, which ring no bell."""
_MOST_POSITIONS = 10_000
_BATCH = 32
"""So many pieces are read at once, and held until they are sent."""


def check_logs_request(request: pb.LogsRequest) -> None:
    """Raise InvalidRequestError for numbers that cannot be, and for fields that say different things."""
    numbers = (request.offset, request.attempt, request.tail_lines)
    if min(numbers) < 0 or any(position.offset < 0 or position.attempt < 1 for position in request.after):
        raise InvalidRequestError("offset, attempt and tail_lines must not be negative; attempts in after are from 1")
    begins = {
        "offset": bool(request.offset),
        "tail_lines": request.HasField("tail_lines"),
        "after": bool(request.after),
    }
    given = [name for name, is_given in begins.items() if is_given]
    if len(given) > 1:
        raise InvalidRequestError(f"{given[0]} and {given[1]} both say where the logs begin", hint="give one of them")
    if request.all_attempts and (request.attempt or request.offset):
        raise InvalidRequestError("all_attempts goes with neither attempt nor offset")
    if len(request.after) > _MOST_POSITIONS:
        raise InvalidRequestError(f"after holds more than {_MOST_POSITIONS} positions")


async def follow_logs(
    watcher: Watcher, directory: JobDirectory, job: Job, request: pb.LogsRequest
) -> AsyncIterator[pb.LogsResponse]:
    """Give all there is of the chosen entries' logs; with `follow`, until all of them have ended.

    EntryNotFoundError, OffsetOutOfRangeError or LogsRemovedError when there is no such place to begin at.
    """
    chosen = select_entries(job, request.step, request.entry)
    feed, begun = await asyncio.to_thread(_begin, directory, job, chosen, request)
    for piece in begun:
        yield _message(piece)
    while True:
        bell = watcher.bell(job.id)
        try:
            job = await watcher.get(job.id)
            entries = [job.entry(*key) for key in feed.open]
            pieces = feed.read(entries, follow=request.follow)
            while batch := await asyncio.to_thread(_take, pieces):
                for piece in batch:
                    yield _message(piece)
                watcher.check_draining()
            if not (request.follow and feed.open):
                return
            running = any(entry.attempt for entry in entries if entry.state not in TERMINAL_ENTRY_STATES)
            await watcher.changed(bell, *([_LOOK_SECONDS] if running else []))
        finally:
            watcher.drop(job.id, bell)


def _begin(
    directory: JobDirectory, job: Job, chosen: Sequence[Entry], request: pb.LogsRequest
) -> tuple[LogFeed, list[Piece]]:
    """Find where each log begins; of those that begin with their tail, give an empty piece that tells where that is."""
    if job.terminal and any(entry.attempt for entry in chosen) and not directory.logs.exists():
        raise LogsRemovedError(
            f"the logs of job {job.id} were removed", hint="they are kept for a time: see --keep-logs"
        )
    places = {(entry.step, entry.name): _first_place(entry, request) for entry in chosen}
    if request.offset and len(places) != 1:
        raise InvalidRequestError("an offset needs one step and entry")
    for position in request.after:
        key = (position.step, position.entry)
        if key not in places:
            raise InvalidRequestError(f"after names {position.step}/{position.entry}, which is not asked for")
        places[key] = Place(position.attempt, position.offset)
    for (step, name), place in places.items():
        if place.offset:
            check_offset(directory.log(step, name, place.attempt), place.offset)
    starts = _find_tails(directory, chosen, places, request) if request.HasField("tail_lines") else {}
    places = {
        key: Place(place.attempt, starts.get((key, place.attempt), place.offset)) for key, place in places.items()
    }
    begun = [
        Piece(step=step, entry=name, attempt=attempt, offset=offset, data=b"")
        for ((step, name), attempt), offset in starts.items()
    ]
    return LogFeed(directory, places, starts=starts, one=bool(request.attempt)), begun


def _first_place(entry: Entry, request: pb.LogsRequest) -> Place:
    return Place(1 if request.all_attempts else request.attempt or entry.attempt, request.offset)


def _find_tails(
    directory: JobDirectory, chosen: Sequence[Entry], places: dict[Key, Place], request: pb.LogsRequest
) -> dict[tuple[Key, int], int]:
    found = {}
    for entry in chosen:
        key = (entry.step, entry.name)
        first = places[key].attempt
        for attempt in range(first, max(first, entry.attempt) + 1 if entry.attempt else 0):
            found[key, attempt] = find_tail(directory.log(*key, attempt), request.tail_lines)
    return found


def _take(pieces: Iterator[Piece]) -> list[Piece]:
    return list(islice(pieces, _BATCH))


def _message(piece: Piece) -> pb.LogsResponse:
    return pb.LogsResponse(
        step=piece.step, entry=piece.entry, attempt=piece.attempt, offset=piece.offset, data=piece.data
    )
