"""One file or folder on its way to the daemon, across interruptions."""

import hashlib
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from jobapi.v1 import artifact_service_pb2

from jobctl.errors import DamagedTransferError, JobctlError, OffsetOutOfRangeError, TooManyError, UnsupportedError
from jobctl.patience import Outage, Patience
from jobctl.talk import Talk, ask, pause, send, work
from jobctl.tar_stream import measure, read_file, read_tar

_CHUNK = 256 * 1024
_SMALL = 1 << 20
"""What is smaller is sent at once: to ask first whether it is there already would take as long."""
_ASK_SECONDS = 60.0


@dataclass(slots=True, kw_only=True)
class Upload:
    """Sends the bytes of a file, or the tar of a folder, and makes sure that the daemon got the same."""

    path: Path
    """What to send."""
    patience: Patience = field(default_factory=Patience)
    """How long a broken stream is tried again."""
    on_bytes: Callable[[int], None] = lambda _count: None
    """Told of each piece's length, from whatever thread makes the pieces; negative when pieces count no more."""
    on_existing: Callable[[], None] = lambda: None
    """Called when the daemon had it all already."""
    _request_id: str = field(default_factory=lambda: str(uuid.uuid4()), init=False)
    _promised: tuple[int, str] = field(default=(0, ""), init=False)
    _sent: int = field(default=0, init=False)
    _tries: int = field(default=0, init=False)

    def run(self) -> Talk[str]:
        """Send everything and give the upload's id.

        Raises `InvalidInputError` and `LocalFileError` for what cannot be read, `DigestMismatchError` or
        `DamagedTransferError` when something else arrived, and what the daemon answers.
        """
        outage = Outage(self.patience)
        large = (yield from work(partial(measure, self.path))) >= _SMALL
        while True:
            before = self._sent
            try:
                return (yield from (self._go_on() if large else self._send_whole()))
            except UnsupportedError:
                if not large:
                    raise
                large = False  # a daemon of before an upload could be gone on with
            except JobctlError as error:
                if not _may_pass(error):
                    raise
                if self._sent > before:
                    outage.end()
                yield from pause(outage.delay(error))

    def _go_on(self) -> Talk[str]:
        if not self._promised[1]:
            self._promised = yield from work(self._look)
        begun = yield from ask(lambda to: to.artifacts.BeginUpload, self._make_wish(), seconds=_ASK_SECONDS)
        if begun.complete and not self._sent:
            self.on_existing()
        self._begin_at(begun.offset)
        if not begun.complete:
            rest = partial(self._make_rest, begun.upload_id, begun.offset, self._tries)
            answer = yield from send(lambda to: to.artifacts.Upload, rest)
            self._check(answer.sha256, self._promised[1])
        return begun.upload_id

    def _send_whole(self) -> Talk[str]:
        self._begin_at(0)
        digest = hashlib.sha256()
        answer = yield from send(lambda to: to.artifacts.Upload, partial(self._make_whole, digest, self._tries))
        self._check(answer.sha256, digest.hexdigest())
        return answer.upload_id

    def _look(self) -> tuple[int, str]:
        size, digest = 0, hashlib.sha256()
        for data in self._read(0):
            size += len(data)
            digest.update(data)
        return size, digest.hexdigest()

    def _read(self, offset: int) -> Iterator[bytes]:
        return (read_tar if self.path.is_dir() else read_file)(self.path, _CHUNK, offset)

    def _make_wish(self) -> artifact_service_pb2.BeginUploadRequest:
        size, digest = self._promised
        return artifact_service_pb2.BeginUploadRequest(
            request_id=self._request_id, folder=self.path.is_dir(), size_bytes=size, sha256=digest
        )

    def _make_rest(self, upload_id: str, offset: int, number: int) -> Iterator[artifact_service_pb2.UploadRequest]:
        yield artifact_service_pb2.UploadRequest(upload_id=upload_id, offset=offset)
        for data in self._read(offset):
            yield artifact_service_pb2.UploadRequest(data=data)
            self._count(len(data), number)
        yield artifact_service_pb2.UploadRequest(finish=True)

    def _make_whole(self, digest: "hashlib._Hash", number: int) -> Iterator[artifact_service_pb2.UploadRequest]:
        yield artifact_service_pb2.UploadRequest(folder=self.path.is_dir())
        for data in self._read(0):
            digest.update(data)
            yield artifact_service_pb2.UploadRequest(data=data)
            self._count(len(data), number)

    def _begin_at(self, offset: int) -> None:
        self._tries += 1
        self._count(offset - self._sent, self._tries)

    def _count(self, size: int, number: int) -> None:
        # What makes the pieces of a stream that broke may live on for a moment.
        if size and number == self._tries:
            self._sent += size
            self.on_bytes(size)

    def _check(self, arrived: str, sent: str) -> None:
        if arrived != sent:
            raise DamagedTransferError(f"{self.path} arrived damaged at the daemon", hint="try again")


def _may_pass(error: JobctlError) -> bool:
    """Tell whether to try again; a disk that is full is for a person to know of at once."""
    full = error.code == "RESOURCE_EXHAUSTED" and not isinstance(error, TooManyError)
    return (error.transient and not full) or isinstance(error, OffsetOutOfRangeError)
