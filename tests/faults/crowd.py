"""A client program with many watches: follows each job that its standard input names, a line for each watch.

Ends when its input has ended and every watched job has. Prints one JSON object: how many watches it had, how many saw
their terminal event, what they missed or saw twice, and how often one had to begin again.
"""

import asyncio
import json
import sys
from dataclasses import asdict, dataclass, field
from typing import Any

import grpc
from jobapi.v1 import job_service_pb2 as pb
from jobapi.v1 import job_service_pb2_grpc as pb_grpc

_TERMINAL = {"job_succeeded", "job_failed", "job_cancelled"}


@dataclass(slots=True)
class Tally:
    """What all watches together saw."""

    watches: int = 0
    ended: int = 0
    events: int = 0
    most_at_once: int = 0
    at_once: int = 0
    begun_again: int = 0
    wrong: list[str] = field(default_factory=list)


class Crowd:
    """Many watches over one channel."""

    def __init__(self, address: str) -> None:
        """Prepare for a daemon's address."""
        self._channel = grpc.aio.insecure_channel(address)
        self._jobs: Any = pb_grpc.JobServiceStub(self._channel)
        self.tally = Tally()

    async def run(self) -> None:
        """Watch all that is named, to the end."""
        reader = asyncio.StreamReader()
        await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
        async with asyncio.TaskGroup() as watches:
            async for line in reader:
                watches.create_task(self._watch(line.decode().strip()))
        await self._channel.close()

    async def _watch(self, job_id: str) -> None:
        tally = self.tally
        tally.watches += 1
        tally.at_once += 1
        tally.most_at_once = max(tally.most_at_once, tally.at_once)
        last, ended = 0, False
        while not ended:
            try:
                request = pb.WatchRequest(id=job_id, after_sequence=last)
                async for message in self._jobs.Watch(request, wait_for_ready=True):
                    if message.WhichOneof("message") == "event":
                        last, ended = self._hear(job_id, message.event, last)
            except grpc.aio.AioRpcError:
                tally.begun_again += 1
                await asyncio.sleep(0.5)
        tally.ended += 1
        tally.at_once -= 1

    def _hear(self, job_id: str, event: Any, last: int) -> tuple[int, bool]:
        self.tally.events += 1
        if event.sequence != last + 1:
            self.tally.wrong.append(f"job {job_id}: event {event.sequence} came after {last}")
        return event.sequence, event.WhichOneof("kind") in _TERMINAL


async def watch(address: str) -> Tally:
    """Watch all that standard input names; give what was seen."""
    crowd = Crowd(address)  # within the loop: a channel belongs to the one in which it is made
    await crowd.run()
    return crowd.tally


if __name__ == "__main__":
    print(json.dumps(asdict(asyncio.run(watch(sys.argv[1])))))
