"""ArtifactService: files in and out, in pieces."""

import asyncio
import hashlib
import io
import os
import tarfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from jobapi.v1 import artifact_service_pb2 as pb
from jobapi.v1 import artifact_service_pb2_grpc as pb_grpc

from jobd.artifacts import ArtifactStore
from jobd.errors import ArtifactGoneError, ArtifactNotFoundError, InvalidRequestError, OffsetOutOfRangeError
from jobd.jobs import Artifact, Job
from jobd.layout import StateDirectory
from jobd.rpc.context import Context
from jobd.states import ArtifactState
from jobd.store import Store
from jobd.uploads import Uploads

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

_PIECE = 256 << 10
"""Measured: the best size for Python on both ends."""


class ArtifactService(pb_grpc.ArtifactServiceServicer):
    """Moving files to and from the daemon."""

    def __init__(self, *, store: Store, state: StateDirectory, uploads: Uploads) -> None:
        """Serve these."""
        self._store = store
        self._state = state
        self._uploads = uploads

    async def Upload(self, request_iterator: AsyncIterator[pb.UploadRequest], _context: Context) -> pb.UploadResponse:  # noqa: N802
        """Store one file or folder."""
        first = await anext(aiter(request_iterator), None)
        if first is None:
            raise InvalidRequestError("the upload has no message", hint="send at least one, which may be empty")
        upload = await self._uploads.receive(_pieces(first, request_iterator), folder=first.folder)
        return pb.UploadResponse(upload_id=upload.id, size_bytes=upload.size_bytes, sha256=upload.sha256)

    async def Download(self, request: pb.DownloadRequest, _context: Context) -> AsyncIterator[pb.DownloadResponse]:  # noqa: N802
        """Stream one artifact."""
        job_id = await asyncio.to_thread(self._store.resolve, request.job_id)
        job = await asyncio.to_thread(self._store.get, job_id)
        artifact = _find(job, request.name)
        path = ArtifactStore(self._state.job(job.id).artifacts).path(artifact.name)
        if not 0 <= request.offset <= (0 if artifact.folder else artifact.size_bytes):
            raise OffsetOutOfRangeError(f"{artifact.name!r} cannot be read from byte {request.offset}")
        yield pb.DownloadResponse(header=pb.DownloadHeader(size_bytes=artifact.size_bytes, folder=artifact.folder))
        digest = hashlib.sha256()
        source = _tar_pieces(path) if artifact.folder else _file_pieces(path, request.offset)
        while piece := await asyncio.to_thread(next, source, b""):
            digest.update(piece)
            yield pb.DownloadResponse(data=piece)
        yield pb.DownloadResponse(trailer=pb.DownloadTrailer(sha256=digest.hexdigest()))


async def _pieces(first: pb.UploadRequest, rest: AsyncIterator[pb.UploadRequest]) -> AsyncIterator[bytes]:
    yield first.data
    async for message in rest:
        yield message.data


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


def _file_pieces(path: Path, offset: int) -> Iterator[bytes]:
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    with os.fdopen(fd, "rb", buffering=0) as file:
        file.seek(offset)
        while piece := file.read(_PIECE):
            yield piece


def _tar_pieces(path: Path) -> Iterator[bytes]:
    """Give a folder as a tar, piece by piece, without ever holding or storing the whole."""
    buffer = _Buffer()
    with tarfile.open(None, "w|", buffer, _PIECE) as tar:
        for inner in sorted(path.rglob("*")):
            tar.add(inner, arcname=str(inner.relative_to(path)), recursive=False)
            yield from buffer.take()
    yield from buffer.take()


class _Buffer(io.RawIOBase):
    """Collects what tarfile writes until it is taken."""

    def __init__(self) -> None:
        super().__init__()
        self._pieces: list[bytes] = []

    def write(self, data: "ReadableBuffer", /) -> int:
        piece = bytes(data)
        self._pieces.append(piece)
        return len(piece)

    def take(self) -> list[bytes]:
        pieces, self._pieces = self._pieces, []
        return pieces
