"""Whatever is sent, the daemon answers with a status that means something, goes on, and keeps nothing of it.

`JOBD_FUZZ_ROUNDS` says how many messages each method gets (60), `JOBD_FUZZ_SEED` which ones (1).
"""

import asyncio
import contextlib
import os
import random
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from typing import Any

import grpc
import pytest
from google.protobuf.descriptor import Descriptor, FieldDescriptor, MethodDescriptor, ServiceDescriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass
from grpc_health.v1 import health_pb2
from jobapi.v1 import artifact_service_pb2, job_service_pb2, module_service_pb2
from jobapi.v1 import artifact_service_pb2 as artifact_pb
from jobapi.v1 import job_service_pb2 as pb

from jobd.call_limits import CallLimits
from jobd.upload_session import About

ROUNDS = int(os.environ.get("JOBD_FUZZ_ROUNDS", "60"))
SEED = os.environ.get("JOBD_FUZZ_SEED", "1")
SECONDS = 0.25
"""So long a stream that has no end of its own is listened to."""
HALF_OPEN = 1000

pytestmark = pytest.mark.timeout(300 + ROUNDS * 10)

_INTEGERS = (0, 1, -1, 2, 7, 63, 1000, 2**31 - 1, -(2**31), 2**31, 2**53 + 1, 2**63 - 1, -(2**63), 2**64 - 1)
_TEXTS = ("", "x", "é漢😀", "\x00", "../../etc/passwd", "a" * 300, "b" * 100_000, "%s%n", "'; --", "\u202e", "{}", "-1")
_FLOATS = (0.0, -1.0, 1e308, float("inf"), float("nan"))
_WIDE = {FieldDescriptor.CPPTYPE_INT32: 32, FieldDescriptor.CPPTYPE_UINT32: 32}
_UNSIGNED = (FieldDescriptor.CPPTYPE_UINT32, FieldDescriptor.CPPTYPE_UINT64)
_MOST_DEEP = 3


def methods() -> Iterator[tuple[str, MethodDescriptor]]:
    """Give the path and the description of every method of the daemon's own services."""
    for module in (job_service_pb2, artifact_service_pb2, module_service_pb2):
        services: dict[str, ServiceDescriptor] = module.DESCRIPTOR.services_by_name
        for service in services.values():
            for method in service.methods:
                yield f"/{service.full_name}/{method.name}", method


@dataclass(frozen=True)
class Fuzz:
    """Makes messages from a seeded chance, with words that the daemon knows strewn in."""

    chance: random.Random
    words: dict[str, tuple[Any, ...]]
    """Values that mean something, by the name of a field."""

    def message(self, descriptor: Descriptor, depth: int = 0) -> Message:
        """Make a message of a type, each of its fields set or not."""
        made: Message = GetMessageClass(descriptor)()
        for field in descriptor.fields:
            if self.chance.random() < 0.6:
                self._set(made, field, depth)
        return made

    def encoded(self, descriptor: Descriptor) -> bytes:
        """Make the bytes of a message, one time in three with some of them changed, cut off or added."""
        data = bytearray(self.message(descriptor).SerializeToString())
        if self.chance.random() < 0.33:
            changes: list[Callable[[bytearray], None]] = [self._flip, self._cut, self._add]
            for _ in range(self.chance.randrange(1, 4)):
                self.chance.choice(changes)(data)
        return bytes(data)

    def _set(self, made: Message, field: FieldDescriptor, depth: int) -> None:
        if field.message_type is not None and field.message_type.GetOptions().map_entry:
            for _ in range(self.chance.choice((1, 3, 100))):
                getattr(made, field.name)[self._text()] = self._text()
        elif field.is_repeated:
            for _ in range(self.chance.choice((0, 1, 2, 30))):
                if field.message_type is None:
                    getattr(made, field.name).append(self._value(field))
                elif depth < _MOST_DEEP:
                    getattr(made, field.name).add().CopyFrom(self.message(field.message_type, depth + 1))
        elif field.message_type is not None:
            if depth < _MOST_DEEP:
                getattr(made, field.name).CopyFrom(self.message(field.message_type, depth + 1))
        else:
            setattr(made, field.name, self._value(field))

    def _value(self, field: FieldDescriptor) -> Any:
        if field.name in self.words and self.chance.random() < 0.7:
            return self.chance.choice(self.words[field.name])
        match field.cpp_type:
            case FieldDescriptor.CPPTYPE_STRING:
                return self._text() if field.type == FieldDescriptor.TYPE_STRING else self.chance.randbytes(40)
            case FieldDescriptor.CPPTYPE_BOOL:
                return self.chance.random() < 0.5
            case FieldDescriptor.CPPTYPE_DOUBLE | FieldDescriptor.CPPTYPE_FLOAT:
                return self.chance.choice(_FLOATS)
            case FieldDescriptor.CPPTYPE_ENUM:
                return self.chance.choice((0, 1, 2, 5, 6, 99, -1))
            case kind:
                return self._integer(_WIDE.get(kind, 64), signed=kind not in _UNSIGNED)

    def _integer(self, bits: int, *, signed: bool) -> int:
        least, most = (-(1 << bits - 1), (1 << bits - 1) - 1) if signed else (0, (1 << bits) - 1)
        return self.chance.choice([value for value in _INTEGERS if least <= value <= most])

    def _text(self) -> str:
        if self.chance.random() < 0.7:
            return self.chance.choice(_TEXTS)
        return "".join(chr(self.chance.randrange(1, 0xD7FF)) for _ in range(self.chance.randrange(20)))

    def _flip(self, data: bytearray) -> None:
        if data:
            data[self.chance.randrange(len(data))] ^= 1 << self.chance.randrange(8)

    def _cut(self, data: bytearray) -> None:
        del data[self.chance.randrange(len(data) + 1) :]

    def _add(self, data: bytearray) -> None:
        place = self.chance.randrange(len(data) + 1)
        data[place:place] = self.chance.randbytes(self.chance.randrange(1, 12))


def make_fuzz(client: Any, name: str, job_ids: tuple[str, ...]) -> Fuzz:
    """Give a fuzz that knows words of the daemon's: without them, few messages would come far."""
    documents = (client.document, client.document[:100], b"\xff\xfe", b"[" * 1000, b"a: &a [*a]", b"{}", b"0")
    words: dict[str, tuple[Any, ...]] = {
        "id": (*job_ids, "@latest", job_ids[0][:4]),
        "job_id": (*job_ids, "@latest"),
        "job_yaml": documents,
        "step": ("one", "two", ""),
        "entry": ("copy", ""),
        "attempt": (0, 1, 2),
        "param_name": ("input", "output"),
        # Nothing here that would be long to copy.
        "path": ("", "given.txt", "/dev/null", "/does/not/exist", str(client.office.input)),
        "name": ("example", "copy", "in.txt", "mid.txt", "out.txt", ""),
        "page_token": ("", "MTox", "MTo5OTk5OTk5OTk5OTk5OTk5OTk5OTk5OTk5", "MTotMQ=="),
        "request_id": ("", "r1", "r2"),
        "after_sequence": (0, 1, 3),
        "offset": (0, 1, 5),
    }
    return Fuzz(random.Random(f"{SEED} {name}"), words)


def opened(channel: grpc.aio.Channel, path: str, method: MethodDescriptor, requests: list[bytes]) -> Any:
    """Make a call with bytes for requests; a stream of requests is ended in good order."""

    async def send() -> AsyncIterator[bytes]:
        for request in requests:
            yield request

    kind = ("stream" if method.client_streaming else "unary") + "_" + ("stream" if method.server_streaming else "unary")
    call = getattr(channel, kind)(path)
    return call(send() if method.client_streaming else requests[0], timeout=SECONDS if method.server_streaming else 30)


async def status_of(call: Any) -> grpc.StatusCode:
    """Bring a call to its end and give how that was."""
    with contextlib.suppress(grpc.aio.AioRpcError):
        if hasattr(call, "__aiter__"):
            async for _answer in call:
                pass
        else:
            await call
    code: grpc.StatusCode = await call.code()
    return code


async def check_health(client: Any) -> None:
    """Fail unless the daemon serves, and has on disk what it knows of and nothing else."""
    answer = await client.health.Check(health_pb2.HealthCheckRequest(service=""))
    assert answer.status == health_pb2.HealthCheckResponse.SERVING
    page = await client.jobs.List(pb.ListRequest(page_size=1000))
    state = client.office.state
    assert {folder.name for folder in state.jobs.iterdir()} == {job.id for job in page.jobs}
    abouts = [About.load(place) for place in state.uploads.iterdir() if place.name.startswith(".")]
    # What BeginUpload began waits to be gone on with, and has the boot that it was begun in.
    assert all(about is not None and about.boot_id for about in abouts)


@pytest.mark.parametrize(("path", "method"), [pytest.param(*item, id=item[0].rpartition("/")[2]) for item in methods()])
def test_random_messages_are_answered(serve, path: str, method: MethodDescriptor):
    """Random and damaged messages end with a status that tells what is wrong with them, never with INTERNAL."""

    async def work(client) -> None:
        ended, running = await client.submit(), await client.submit(request_id="r1")
        await client.happen(ended.id, *client.running, *client.done)
        await client.happen(running.id, *client.running)
        log = client.office.state.job(ended.id).log("one", "copy", 1)
        log.parent.mkdir(parents=True)
        log.write_bytes(b"a line\n" * 20)
        fuzz = make_fuzz(client, path, (ended.id, running.id))
        wrong = []
        async with grpc.aio.insecure_channel("unix:jobd.sock") as channel:
            for start in range(0, ROUNDS, 20):
                sent = [
                    [fuzz.encoded(method.input_type) for _ in range(fuzz.chance.randrange(1, 4))]
                    for _ in range(min(20, ROUNDS - start))
                ]
                codes = await asyncio.gather(*(status_of(opened(channel, path, method, item)) for item in sent))
                wrong += [
                    (code.name, item)
                    for code, item in zip(codes, sent, strict=True)
                    if code in (grpc.StatusCode.INTERNAL, grpc.StatusCode.UNKNOWN)
                ]
        assert wrong == []
        await check_health(client)

    serve(work)


def test_streams_in_the_wrong_order_are_refused(serve):
    """No message at all, a folder that begins late, a tar that is none: an upload is whole or leaves nothing."""

    async def work(client) -> None:
        async def send(*messages: artifact_pb.UploadRequest) -> AsyncIterator[artifact_pb.UploadRequest]:
            for message in messages:
                yield message

        part = artifact_pb.UploadRequest
        assert (await client.refused(client.artifacts.Upload(send())))[:2] == ("INVALID_ARGUMENT", "INVALID_REQUEST")
        for messages in ((part(folder=True, data=b"x"),), (part(folder=True), part(folder=False, data=b"x" * 600))):
            told = await client.refused(client.artifacts.Upload(send(*messages)))
            assert told[:2] == ("INVALID_ARGUMENT", "INVALID_INPUT")
        late = await client.artifacts.Upload(send(part(data=b"x"), part(folder=True, data=b"y")))
        assert late.size_bytes == 2
        assert [place.name for place in client.office.state.uploads.iterdir()] == [late.upload_id]
        await check_health(client)

    serve(work)


def test_a_thousand_uploads_that_never_end_leave_nothing(serve):
    """1,000 uploads begin, stop half-way and are cut: those beyond the limit are told of it, and no byte stays."""

    async def work(client) -> None:
        async def half_open() -> str:
            call = client.artifacts.Upload()
            try:
                # One that is refused at once may be so before its bytes are sent.
                with contextlib.suppress(asyncio.InvalidStateError, grpc.aio.AioRpcError):
                    await call.write(artifact_pb.UploadRequest(data=b"x" * 1000))
                return (await call.code()).name
            finally:
                call.cancel()

        async def whole() -> str:
            call = client.artifacts.Upload()
            await call.write(artifact_pb.UploadRequest(data=b"x"))
            await call.done_writing()
            return (await call.code()).name

        uploads, most = client.office.state.uploads, CallLimits().max_uploads_per_caller
        calls = {asyncio.create_task(half_open()) for _ in range(HALF_OPEN)}
        waiting, told = set(calls), []
        async with asyncio.timeout(90):
            while len(told) < (HALF_OPEN - most) * 0.9 or len([*uploads.iterdir()]) < most:
                done, waiting = await asyncio.wait(waiting, timeout=0.1, return_when=asyncio.FIRST_COMPLETED)
                told += [call.result() for call in done]
            job = await client.submit()
            for call in waiting:
                call.cancel()
            await asyncio.gather(*waiting, return_exceptions=True)
            assert {*told} == {"RESOURCE_EXHAUSTED"}
            while any(uploads.iterdir()):
                await client.jobs.Get(pb.GetRequest(id=job.id))
            # Every place is free again.
            assert {*await asyncio.gather(*(whole() for _ in range(most)))} == {"OK"}
            assert len([*uploads.iterdir()]) == most
        await check_health(client)

    serve(work)


ODD_METADATA: tuple[tuple[tuple[str, Any], ...], ...] = (
    (("authorization", ""),),
    (("authorization", "Bearer"),),
    (("authorization", "Bearer " + "x" * 4000),),
    (("authorization", "Bearer the-token"), ("authorization", "Bearer wrong")),
    (("x-bin", bytes(range(256))),),
    (("traceparent", "00-" + "f" * 500),),
    (("grpc-previous-rpc-attempts", "9"),),
    (("x", "y" * 60_000),),
)


def test_bad_metadata_is_no_fault_of_the_daemon(serve):
    """Odd, damaged and huge metadata are ignored or refused, over TCP as over the socket."""

    async def work(client) -> None:
        job = await client.submit()
        for target in ("unix:jobd.sock", client.tcp):
            async with grpc.aio.insecure_channel(target) as channel:
                get = channel.unary_unary("/jobapi.v1.JobService/Get")
                for metadata in ODD_METADATA:
                    call = get(pb.GetRequest(id=job.id).SerializeToString(), metadata=metadata, timeout=20)
                    code = await status_of(call)
                    assert code not in (grpc.StatusCode.INTERNAL, grpc.StatusCode.UNKNOWN), metadata
        await check_health(client)

    serve(work)
