"""ArtifactService: files in and out, in pieces."""

import asyncio
import re
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import aclosing

from jobapi.v1 import artifact_service_pb2 as pb
from jobapi.v1 import artifact_service_pb2_grpc as pb_grpc

from jobd.artifact_stream import Source, open_source
from jobd.artifacts import ArtifactStore
from jobd.call_limits import check_request_id
from jobd.errors import (
    ArtifactChangedError,
    ArtifactGoneError,
    ArtifactNotFoundError,
    InvalidRequestError,
    OffsetOutOfRangeError,
)
from jobd.jobs import Artifact, Job
from jobd.layout import StateDirectory
from jobd.rpc.caller import caller
from jobd.rpc.context import Context
from jobd.rpc.read_ahead import ReadAhead
from jobd.states import ArtifactState
from jobd.store import Store
from jobd.upload_session import About, Piece
from jobd.uploads import Upload, Uploads

_DIGEST = re.compile(r"[0-9a-f]{64}")
_MOST_SIZE = 1 << 62
_PIECE = 256 << 10
"""Measured: the best size of a message for Python on both ends."""
_MOST_DIGESTS = 1000
_THREADS = 4


class ArtifactService(pb_grpc.ArtifactServiceServicer):
    """Moving files to and from the daemon."""

    def __init__(self, *, store: Store, state: StateDirectory, uploads: Uploads) -> None:
        """Serve these."""
        self._store = store
        self._state = state
        self._uploads = uploads
        self._digests: dict[str, str] = {}
        self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="download")

    async def BeginUpload(self, request: pb.BeginUploadRequest, _context: Context) -> pb.BeginUploadResponse:  # noqa: N802
        """Begin an upload that can be interrupted, or tell how far one is."""
        upload = await self._uploads.begin(_read_about(request))
        return pb.BeginUploadResponse(upload_id=upload.id, offset=upload.size_bytes, complete=upload.whole)

    async def Upload(self, request_iterator: AsyncIterator[pb.UploadRequest], context: Context) -> pb.UploadResponse:  # noqa: N802
        """Store one file or folder, or the next bytes of one."""
        first = await anext(aiter(request_iterator), None)
        if first is None:
            raise InvalidRequestError("the upload has no message", hint="send at least one, which may be empty")
        upload = await _take(self._uploads, first, request_iterator, context)
        return pb.UploadResponse(
            upload_id=upload.id, size_bytes=upload.size_bytes, sha256=upload.sha256, complete=upload.whole
        )

    async def Download(self, request: pb.DownloadRequest, _context: Context) -> AsyncIterator[pb.DownloadResponse]:  # noqa: N802
        """Stream one artifact, or a range of it."""
        artifact, source = await asyncio.to_thread(self._open, request)
        end = _find_end(request, artifact.name, source)
        yield pb.DownloadResponse(
            header=pb.DownloadHeader(
                size_bytes=artifact.size_bytes,
                folder=artifact.folder,
                stream_bytes=source.total,
                version=source.version,
                sha256=self._digests.get(source.version, ""),
            )
        )
        complete = (request.offset, end) == (0, source.total)
        # The client compares with it what has arrived, so that one that is known need not be computed again.
        known = self._digests.get(source.version, "") if complete else ""
        ahead = ReadAhead(source.read(request.offset, end), self._threads, known=known)
        async with aclosing(ahead.read(_PIECE)) as pieces:
            async for piece in pieces:
                yield pb.DownloadResponse(data=piece)
        if complete:
            self._remember(source.version, ahead.sha256)
        whole = self._digests.get(source.version, "")
        if request.whole_sha256 and not whole:
            whole = await self._hash(source)
        yield pb.DownloadResponse(trailer=pb.DownloadTrailer(sha256=ahead.sha256, whole_sha256=whole))

    def _open(self, request: pb.DownloadRequest) -> tuple[Artifact, Source]:
        job = self._store.get(self._store.resolve(request.job_id))
        artifact = _find(job, request.name)
        try:
            return artifact, open_source(ArtifactStore(self._state.job(job.id).artifacts).path(artifact.name))
        except FileNotFoundError as error:
            raise ArtifactGoneError(f"the artifact {artifact.name!r} of job {job.id} has just been removed") from error

    async def _hash(self, source: Source) -> str:
        ahead = ReadAhead(source.read(0, source.total), self._threads)
        async with aclosing(ahead.read(source.total)) as blocks:
            async for _block in blocks:
                pass
        self._remember(source.version, ahead.sha256)
        return ahead.sha256

    def _remember(self, version: str, sha256: str) -> None:
        self._digests[version] = sha256
        while len(self._digests) > _MOST_DIGESTS:
            del self._digests[next(iter(self._digests))]


async def _take(
    uploads: Uploads, first: pb.UploadRequest, rest: AsyncIterator[pb.UploadRequest], context: Context
) -> Upload:
    owner = caller().name
    if first.upload_id:
        return await uploads.resume(first.upload_id, _pieces(first, rest), owner=owner, offset=first.offset)
    return await uploads.receive(_bytes(first, rest, context), folder=first.folder, owner=owner)


async def _bytes(
    first: pb.UploadRequest, rest: AsyncIterator[pb.UploadRequest], context: Context
) -> AsyncIterator[bytes]:
    yield first.data
    async for message in rest:
        yield message.data
    # The messages of a client that hung up end like those of one that has sent all; its cancellation comes separately,
    # and may be late. Once something was sent to the client, whatever came before it is known.
    await context.send_initial_metadata(())


async def _pieces(first: pb.UploadRequest, rest: AsyncIterator[pb.UploadRequest]) -> AsyncIterator[Piece]:
    yield Piece(data=first.data, last=first.finish)
    async for message in rest:
        yield Piece(data=message.data, last=message.finish)


def _read_about(request: pb.BeginUploadRequest) -> About:
    """Read what is to be uploaded; InvalidRequestError or LimitExceededError for what cannot be meant."""
    check_request_id(request.request_id)
    if request.sha256 and not _DIGEST.fullmatch(request.sha256):
        raise InvalidRequestError("sha256 is not 64 lower-case hexadecimal digits")
    size = request.size_bytes if request.HasField("size_bytes") else None
    if size is not None and not 0 <= size <= _MOST_SIZE:
        raise InvalidRequestError(f"size_bytes is {size}, which no file has")
    return About(
        owner=caller().name,
        folder=request.folder,
        size_bytes=size,
        sha256=request.sha256,
        request_id=request.request_id,
    )


def _find_end(request: pb.DownloadRequest, name: str, source: Source) -> int:
    """Give the byte at which a download ends; raise for a range that is none, or one of another content."""
    if request.version not in ("", source.version):
        raise ArtifactChangedError(f"{name!r} has another content than before", hint="download it anew, from byte 0")
    if not 0 <= request.offset <= source.total:
        raise OffsetOutOfRangeError(f"{name!r} cannot be read from byte {request.offset}: it has {source.total}")
    if request.length < 0:
        raise InvalidRequestError(f"length is {request.length}", hint="leave it out to read to the end")
    return min(source.total, request.offset + (request.length or source.total))


def _find(job: Job, name: str) -> Artifact:
    place = job.artifact_places.get(name)
    if place is None:
        known = ", ".join(artifact.name for artifact in job.artifacts[:20])
        raise ArtifactNotFoundError(f"job {job.id} has no artifact {name!r}", hint=f"it has {known}")
    artifact = job.artifacts[place]
    if artifact.state is not ArtifactState.PRESENT:
        why = f"it was removed: {artifact.reason}" if artifact.reason else "it was not made"
        raise ArtifactGoneError(f"the artifact {name!r} of job {job.id} is not there: {why}")
    return artifact
