"""Streaming the logs of entries, in the order of the job, and on as they grow."""

import asyncio
from collections.abc import AsyncIterator, Sequence

from jobapi.v1 import job_service_pb2 as pb

from jobd.jobs import Entry, Job
from jobd.layout import JobDirectory
from jobd.log_files import read_piece
from jobd.rpc.watch import Watcher
from jobd.states import TERMINAL_ENTRY_STATES

_LOOK_SECONDS = 0.25
"""How often a growing log is looked at: modules write to files, which ring no bell."""


async def follow_logs(
    watcher: Watcher, directory: JobDirectory, job: Job, chosen: Sequence[Entry], request: pb.LogsRequest
) -> AsyncIterator[pb.LogsResponse]:
    """Give all there is of the chosen entries' logs; with `follow`, until all of them have ended."""
    places = {(entry.step, entry.name): (request.attempt or entry.attempt, request.offset) for entry in chosen}
    while True:
        bell = watcher.bell(job.id)
        try:
            job = await watcher.get(job.id)
            entries = [job.entry(*key) for key in places]
            ended = all(entry.state in TERMINAL_ENTRY_STATES for entry in entries)
            for entry in entries:
                async for piece in _new_pieces(directory, entry, places, request):
                    yield piece
            if ended or not request.follow:
                return
            running = any(entry.attempt for entry in entries if entry.state not in TERMINAL_ENTRY_STATES)
            await watcher.changed(bell, *([_LOOK_SECONDS] if running else []))
        finally:
            watcher.drop(job.id, bell)


async def _new_pieces(
    directory: JobDirectory, entry: Entry, places: dict[tuple[str, str], tuple[int, int]], request: pb.LogsRequest
) -> AsyncIterator[pb.LogsResponse]:
    """Give what is new of one entry, through each attempt that was begun since, unless one attempt was asked for."""
    key = (entry.step, entry.name)
    attempt, offset = places[key]
    while attempt or entry.attempt:
        if attempt == 0:
            attempt = 1
        path = directory.log(entry.step, entry.name, attempt)
        while True:
            offset, data = await asyncio.to_thread(read_piece, path, offset)
            if not data:
                break
            yield pb.LogsResponse(step=entry.step, entry=entry.name, attempt=attempt, offset=offset, data=data)
            offset += len(data)
            places[key] = (attempt, offset)
        if request.attempt or attempt >= entry.attempt:
            return
        attempt, offset = attempt + 1, 0
        places[key] = (attempt, offset)
