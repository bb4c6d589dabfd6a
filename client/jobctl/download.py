"""One artifact on its way to the disk: complete or not there."""

import contextlib
import hashlib
import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from jobapi.v1 import artifact_service_pb2

from jobctl.errors import (
    ArtifactChangedError,
    DamagedTransferError,
    JobctlError,
    LocalFileError,
    NotFoundError,
    OffsetOutOfRangeError,
    TargetExistsError,
)
from jobctl.part import Origin, Part, open_part
from jobctl.patience import Outage, Patience
from jobctl.talk import Talk, open_stream, pause, read, work

try:
    from backports import tarfile  # before Python 3.11.4 the standard one knows no filters
except ImportError:
    import tarfile

_BLOCK = 1 << 20


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
    resume: bool = False
    """Whether what has arrived stays in `TARGET.part` when the download is interrupted, and is gone on from."""
    patience: Patience = field(default_factory=Patience)
    """How long a broken stream is tried again."""
    on_bytes: Callable[[int], None] = lambda _count: None
    """Told of each piece's length, and of what was there already; negative when pieces count no more."""
    _received: int = field(default=0, init=False)
    _heard: bool = field(default=False, init=False)
    """Whether the daemon has answered in this run."""
    _inherited: bool = field(default=False, init=False)
    """Whether the first bytes are an earlier run's."""
    _whole: "hashlib._Hash" = field(default_factory=hashlib.sha256, init=False)
    _header: artifact_service_pb2.DownloadHeader = field(
        default_factory=artifact_service_pb2.DownloadHeader, init=False
    )

    def run(self) -> Talk[Path]:
        """Fetch the artifact and give its path; when it fails nothing is left behind, but for what `resume` keeps.

        Raises `TargetExistsError`, `LocalFileError`, `DamagedTransferError`, and what the daemon answers.
        """
        refuse_existing(self.target, force=self.force)
        try:
            self.target.parent.mkdir(parents=True, exist_ok=True)
            with open_part(self.target, lasting=self.resume, keep=_is_worth_going_on) as part:
                yield from work(lambda: self._take_up(part))
                if self._inherited:
                    self.on_bytes(self._received)
                yield from self._receive(part)
                yield from work(lambda: self._finish(part))
        except (OSError, tarfile.TarError) as error:
            raise LocalFileError(f"cannot write {self.target}: {error}") from error
        return self.target

    def _take_up(self, part: Part) -> None:
        """Go on after the bytes of an earlier run, if they are of what is wanted."""
        origin = part.read_origin()
        if not origin or origin != self._name_origin(origin.version):
            return part.clear()
        while data := part.file.read(_BLOCK):
            self._received += len(data)
            self._whole.update(data)
        self._header.version = origin.version
        self._inherited = self._received > 0
        return None

    def _name_origin(self, version: str) -> Origin:
        return Origin(job_id=self.job_id, name=self.name, version=version)

    def _finish(self, part: Part) -> None:
        part.file.flush()
        if self._header.folder:
            source = _unpack(part.path, part.unpacked)
        else:
            source = part.path
            source.chmod(0o666 & ~_read_umask())
        _put(source, self.target, part.replaced, force=self.force)

    def _receive(self, part: Part) -> Talk[None]:
        outage = Outage(self.patience)
        while True:
            try:
                return (yield from self._receive_stream(part, outage))
            except JobctlError as error:
                other = self._received > 0 and self._is_other(error)
                if not (other or (self._heard and error.transient)):
                    raise
                yield from pause(outage.delay(error))
            if other or (self._header.folder and not self._header.version):
                self._start_again(part)

    def _is_other(self, error: JobctlError) -> bool:
        """Tell whether the bytes that are there are not those of the artifact as it is now."""
        if isinstance(error, DamagedTransferError):
            # A machine that lost its power may have left anything in the file.
            return self._inherited and not error.transient
        return isinstance(error, ArtifactChangedError | OffsetOutOfRangeError)

    def _start_again(self, part: Part) -> None:
        # What is there is of another content, or, from an older daemon, of a tar that may be another the next time.
        self.on_bytes(-self._received)
        self._received, self._inherited = 0, False
        self._whole = hashlib.sha256()
        self._header = artifact_service_pb2.DownloadHeader()
        part.clear()

    def _receive_stream(self, part: Part, outage: Outage) -> Talk[None]:
        kind = artifact_service_pb2.DownloadResponse
        rest = hashlib.sha256() if self._received else None
        yield from open_stream(lambda to: to.artifacts.Download, self._make_request(), kind)
        while (message := (yield from read(kind))) is not None:
            self._heard = True
            match message.WhichOneof("message"):
                case "header":
                    yield from work(partial(self._begin, message.header, part))
                case "data":
                    yield from work(partial(self._keep, message.data, part, rest))
                    self._received += len(message.data)
                    self.on_bytes(len(message.data))
                    outage.end()
                case "trailer":
                    return self._check(message.trailer, rest)
        raise DamagedTransferError(f"the end of {self.target.name} did not arrive", code="UNAVAILABLE")

    def _make_request(self) -> artifact_service_pb2.DownloadRequest:
        return artifact_service_pb2.DownloadRequest(
            job_id=self.job_id,
            name=self.name,
            offset=self._received,
            version=self._header.version,
            whole_sha256=self._received > 0,
        )

    def _begin(self, header: artifact_service_pb2.DownloadHeader, part: Part) -> None:
        self._header = header
        if self.resume and header.version and not self._received:
            part.note(self._name_origin(header.version))

    def _keep(self, data: bytes, part: Part, rest: "hashlib._Hash | None") -> None:
        part.file.write(data)
        self._whole.update(data)
        if rest is not None:
            rest.update(data)

    def _check(self, promised: artifact_service_pb2.DownloadTrailer, rest: "hashlib._Hash | None") -> None:
        """Compare the digests: that of this stream's bytes, and that of all where the daemon tells it."""
        if promised.sha256 != (rest or self._whole).hexdigest() or (
            promised.whole_sha256 not in ("", self._whole.hexdigest())
        ):
            raise DamagedTransferError(f"{self.target.name} arrived damaged: its checksum differs", hint="try again")
        size = self._header.stream_bytes or (0 if self._header.folder else self._header.size_bytes)
        if size and self._received != size:
            raise DamagedTransferError(
                f"{self.target.name} arrived with {self._received} of {size} bytes", hint="try again"
            )


def _is_worth_going_on(error: BaseException) -> bool:
    """Tell whether what has arrived before this error may be of use to the next run."""
    useless = isinstance(error, tarfile.TarError | NotFoundError | DamagedTransferError)
    return not useless or (isinstance(error, JobctlError) and error.transient)


def refuse_existing(target: Path, *, force: bool) -> None:
    """Raise `TargetExistsError` when the target is there and must not be replaced."""
    if not force and os.path.lexists(target):
        raise TargetExistsError(f"{target} exists", hint="replace it with --force, or choose another folder with --to")


def _unpack(archive: Path, folder: Path) -> Path:
    shutil.rmtree(folder, ignore_errors=True)  # an earlier run may have been killed here
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
