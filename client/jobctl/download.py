"""One artifact on its way to the disk: complete or not there."""

import contextlib
import hashlib
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

from jobapi.v1 import artifact_service_pb2

from jobctl.errors import DamagedTransferError, JobctlError, LocalFileError, TargetExistsError
from jobctl.patience import Outage, Patience

try:
    from backports import tarfile  # before Python 3.11.4 the standard one knows no filters
except ImportError:
    import tarfile

OpenStream = Callable[[int], Iterator[artifact_service_pb2.DownloadResponse]]
"""Opens the stream of the artifact from a byte offset on; it raises this package's errors."""


@dataclass(slots=True, kw_only=True)
class Download:
    """Writes an artifact beside its target and renames it when every byte has been proven to be there."""

    open_stream: OpenStream
    """Opens the stream."""
    target: Path
    """The file or folder to make."""
    force: bool = False
    """Whether an existing target is replaced."""
    patience: Patience = field(default_factory=Patience)
    """How long a broken stream is tried again."""
    on_bytes: Callable[[int], None] = lambda _count: None
    """Told of each piece's length; negative when pieces count no more."""
    _received: int = field(default=0, init=False)
    _header: artifact_service_pb2.DownloadHeader = field(
        default_factory=artifact_service_pb2.DownloadHeader, init=False
    )

    def run(self) -> Path:
        """Fetch the artifact and give its path; nothing is left behind when it fails.

        Raises `TargetExistsError`, `LocalFileError`, `DamagedTransferError`, and what the daemon answers.
        """
        refuse_existing(self.target, force=self.force)
        try:
            self.target.parent.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(prefix=".jobctl-", dir=self.target.parent) as folder:
                self._fetch(Path(folder))
        except (OSError, tarfile.TarError) as error:
            raise LocalFileError(f"cannot write {self.target}: {error}") from error
        return self.target

    def _fetch(self, scratch: Path) -> None:
        part = scratch / "part"
        with part.open("w+b") as file:
            self._receive(file)
        if self._header.folder:
            part = _unpack(part, scratch / "folder")
        else:
            part.chmod(0o666 & ~_read_umask())
        _put(part, self.target, scratch / "old", force=self.force)

    def _receive(self, file: BinaryIO) -> None:
        outage = Outage(self.patience)
        while True:
            try:
                return self._receive_stream(file, outage)
            except JobctlError as error:
                if not (self._received and error.transient):
                    raise
                outage.wait(error)
            if self._header.folder:
                self._start_again(file)

    def _start_again(self, file: BinaryIO) -> None:
        # A folder's tar is made on the fly, so it has no offsets.
        self.on_bytes(-self._received)
        self._received = 0
        file.truncate(0)
        file.seek(0)

    def _receive_stream(self, file: BinaryIO, outage: Outage) -> None:
        digest = hashlib.sha256()
        for message in self.open_stream(self._received):
            match message.WhichOneof("message"):
                case "header":
                    self._header = message.header
                case "data":
                    file.write(message.data)
                    digest.update(message.data)
                    self._received += len(message.data)
                    self.on_bytes(len(message.data))
                    outage.end()
                case "trailer":
                    return self._check(message.trailer.sha256, digest.hexdigest())
        raise DamagedTransferError(f"the end of {self.target.name} did not arrive", code="UNAVAILABLE")

    def _check(self, promised: str, computed: str) -> None:
        if promised != computed:
            raise DamagedTransferError(f"{self.target.name} arrived damaged: its checksum differs", hint="try again")
        if not self._header.folder and self._received != self._header.size_bytes:
            raise DamagedTransferError(
                f"{self.target.name} arrived with {self._received} of {self._header.size_bytes} bytes", hint="try again"
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
