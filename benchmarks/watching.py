"""A process full of watchers, each with a connection of its own, that only notes when what came."""

import asyncio
import time
from dataclasses import dataclass
from multiprocessing.connection import Connection

import grpc
from jobapi.v1 import job_service_pb2 as pb

from benchmarks.run import PATIENCE_SECONDS

_OWN_CONNECTION = (("grpc.use_local_subchannel_pool", 1),)
_AT_ONCE = 50
"""How many watchers of a process come at the same moment."""


@dataclass(slots=True)
class Receipt:
    """When a message came to the watchers of this process."""

    first: float
    last: float
    count: int


Receipts = dict[bytes, Receipt]
"""By the message's bytes, which are the same for all watchers: to read them would cost more than what is measured."""


def watch_many(address: str, job_id: str, count: int, pipe: "Connection[object, object]") -> None:
    """Watch a job so many times; tell the time when the last of them had its snapshot, and at the end all receipts."""
    try:
        asyncio.run(_Watchers(address, job_id, count, pipe).watch())
    except Exception as error:  # noqa: BLE001 - told to the process that asked
        pipe.send(f"{type(error).__name__}: {error}")


class _Watchers:
    def __init__(self, address: str, job_id: str, count: int, pipe: "Connection[object, object]") -> None:
        self._address, self._job_id, self._count, self._pipe = address, job_id, count, pipe
        self._receipts: Receipts = {}
        self._there = 0
        self._door = asyncio.Semaphore(_AT_ONCE)

    async def watch(self) -> None:
        """Watch until the job has ended."""
        async with asyncio.TaskGroup() as group:
            for _ in range(self._count):
                group.create_task(self._watch_once())
        self._pipe.send(self._receipts)

    async def _watch_once(self) -> None:
        async with grpc.aio.insecure_channel(self._address, options=_OWN_CONNECTION) as channel:
            watch: grpc.aio.UnaryStreamMultiCallable[pb.WatchRequest, bytes] = channel.unary_stream(
                "/jobapi.v1.JobService/Watch", request_serializer=pb.WatchRequest.SerializeToString
            )
            async with self._door:
                call = watch(pb.WatchRequest(id=self._job_id), timeout=PATIENCE_SECONDS)
                await call.read()
                self._come()
            while isinstance(raw := await call.read(), bytes):
                self._note(raw, time.time())

    def _come(self) -> None:
        self._there += 1
        if self._there == self._count:
            self._pipe.send(time.time())

    def _note(self, raw: bytes, now: float) -> None:
        receipt = self._receipts.setdefault(raw, Receipt(now, now, 0))
        receipt.last = now
        receipt.count += 1
