"""One artifact on its way to the disk: complete or not there."""

import contextlib
import hashlib
import os
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import BinaryIO

from jobapi.v1 import artifact_service_pb2

from jobctl.errors import (
    ArtifactChangedError,
    DamagedTransferError,
    JobctlError,
    LocalFileError,
    TargetExistsError,
)
from jobctl.patience import Outage, Patience
from jobctl.talk import Talk, open_stream, pause, read, work

try:
    from backports import tarfile  # before Python 3.11.4 the standard one knows no filters
except ImportError:
    import tarfile


@dataclass(slots=True, kw_only=True)
class Download:
    """Writes an artifact beside its target and renames it when every byte has been proven to be there."""

    job_id: str
    """The job."""
    name: str
    """The artifact."""
    target: Path
    """The file or folder to make."""
    force: bool = False
    """Whether an existing target is replaced."""
    patience: Patience = field(default_factory=Patience)
    """How long a broken stream is tried again."""
    on_bytes: Callable[[int], None] = lambda _count: None
    """Told of each piece's length; negative when pieces count no more."""
    _received: int = field(default=0, init=False)
    _whole: "hashlib._Hash" = field(default_factory=hashlib.sha256, init=False)
    _header: artifact_service_pb2.DownloadHeader = field(
        default_factory=artifact_service_pb2.DownloadHeader, init=False
    )

    def run(self) -> Talk[Path]:
        """Fetch the artifact and give its path; nothing is left behind when it fails.

        Raises `TargetExistsError`, `LocalFileError`, `DamagedTransferError`, and what the daemon answers.
        """
        refuse_existing(self.target, force=self.force)
        try:
            self.target.parent.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(prefix=".jobctl-", dir=self.target.parent) as folder:
                yield from self._fetch(Path(folder))
        except (OSError, tarfile.TarError) as error:
            raise LocalFileError(f"cannot write {self.target}: {error}") from error
        return self.target

    def _fetch(self, scratch: Path) -> Talk[None]:
        part = scratch / "part"
        with part.open("w+b") as file:
            yield from self._receive(file)
        yield from work(lambda: self._finish(part, scratch))

    def _finish(self, part: Path, scratch: Path) -> None:
        if self._header.folder:
            part = _unpack(part, scratch / "folder")
        else:
            part.chmod(0o666 & ~_read_umask())
        _put(part, self.target, scratch / "old", force=self.force)

    def _receive(self, file: BinaryIO) -> Talk[None]:
        outage = Outage(self.patience)
        while True:
            try:
                return (yield from self._receive_stream(file, outage))
            except JobctlError as error:
                changed = isinstance(error, ArtifactChangedError)
                if not (self._received and (error.transient or changed)):
                    raise
                yield from pause(outage.delay(error))
            if changed or (self._header.folder and not self._header.version):
                self._start_again(file)

    def _start_again(self, file: BinaryIO) -> None:
        # What is there is of another content, or, from an older daemon, of a tar that may be another the next time.
        self.on_bytes(-self._received)
        self._received = 0
        self._whole = hashlib.sha256()
        self._header = artifact_service_pb2.DownloadHeader()
        file.truncate(0)
        file.seek(0)

    def _receive_stream(self, file: BinaryIO, outage: Outage) -> Talk[None]:
        kind = artifact_service_pb2.DownloadResponse
        part = hashlib.sha256() if self._received else None
        yield from open_stream(lambda to: to.artifacts.Download, self._make_request(), kind)
        while (message := (yield from read(kind))) is not None:
            match message.WhichOneof("message"):
                case "header":
                    self._header = message.header
                case "data":
                    yield from work(partial(self._keep, message.data, file, part))
                    self._received += len(message.data)
                    self.on_bytes(len(message.data))
                    outage.end()
                case "trailer":
                    return self._check(message.trailer, part)
        raise DamagedTransferError(f"the end of {self.target.name} did not arrive", code="UNAVAILABLE")

    def _make_request(self) -> artifact_service_pb2.DownloadRequest:
        return artifact_service_pb2.DownloadRequest(
            job_id=self.job_id,
            name=self.name,
            offset=self._received,
            version=self._header.version,
            whole_sha256=self._received > 0,
        )

    def _keep(self, data: bytes, file: BinaryIO, part: "hashlib._Hash | None") -> None:
        file.write(data)
        self._whole.update(data)
        if part is not None:
            part.update(data)

    def _check(self, promised: artifact_service_pb2.DownloadTrailer, part: "hashlib._Hash | None") -> None:
        """Compare the digests: that of this stream's bytes, and that of all where the daemon tells it."""
        if promised.sha256 != (part or self._whole).hexdigest() or (
            promised.whole_sha256 not in ("", self._whole.hexdigest())
        ):
            raise DamagedTransferError(f"{self.target.name} arrived damaged: its checksum differs", hint="try again")
        size = self._header.stream_bytes or (0 if self._header.folder else self._header.size_bytes)
        if size and self._received != size:
            raise DamagedTransferError(
                f"{self.target.name} arrived with {self._received} of {size} bytes", hint="try again"
            )


def refuse_existing(target: Path, *, force: bool) -> None:
    """Raise `TargetExistsError` when the target is there and must not be replaced."""
    if not force and os.path.lexists(target):
        raise TargetExistsError(f"{target} exists", hint="replace it with --force, or choose another folder with --to")


def _unpack(archive: Path, folder: Path) -> Path:
    folder.mkdir()
    with tarfile.open(archive, "r:") as tar:
        # The filter refuses whatever would land outside the folder, and devices.
        tar.extractall(folder, filter="data")
    return folder


def _put(source: Path, target: Path, aside: Path, *, force: bool) -> None:
    refuse_existing(target, force=force)
    if target.is_dir() and not target.is_symlink():
        target.rename(aside)
    elif source.is_dir():
        target.unlink(missing_ok=True)
    source.rename(target)
    if aside.is_dir():
        with contextlib.suppress(OSError):  # what remains goes with the scratch folder around it
            shutil.rmtree(aside)


def _read_umask() -> int:
    mask = os.umask(0o077)
    os.umask(mask)
    return mask
