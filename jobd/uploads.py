"""Files on their way in from clients that do not share the daemon's disk.

An upload is a folder `<id>` that holds `data` and its `sha256`; it appears under its id once it is whole and on disk.
"""

import asyncio
import errno
import hashlib
import lzma
import os
import re
import secrets
import shutil
import zlib
from collections.abc import AsyncIterable
from dataclasses import dataclass
from pathlib import Path

from jobd.artifacts import OutputError, Stored, check_output, copy_in, sync_tree
from jobd.errors import InvalidInputError
from jobd.layout import sync_directory, write_durably
from jobd.reserve import Reserve

try:
    from backports import tarfile  # before Python 3.11.4 the standard one knows no filters
except ImportError:
    import tarfile

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EIO)

_ID = re.compile(r"[0-9a-f]{32}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Upload:
    """A whole upload."""

    id: str
    size_bytes: int
    """The bytes received."""
    sha256: str
    """Of the bytes received, in lower-case hexadecimal."""


class Uploads:
    """The uploads in one folder."""

    def __init__(self, folder: Path, reserve: Reserve | None = None) -> None:
        """Serve `folder`, as long as its disk has more free than `reserve`."""
        self._folder = folder
        self._reserve = reserve or Reserve(folder, 0)

    async def receive(self, pieces: AsyncIterable[bytes], *, folder: bool) -> Upload:
        """Take the bytes of a file, or of a folder's tar; nothing stays of a transfer that breaks.

        DiskFullError when it would use up the reserve.
        """
        upload_id = secrets.token_hex(16)
        place = self._folder / f".{upload_id}"
        place.mkdir(mode=0o700)
        try:
            digest, size = hashlib.sha256(), 0
            with (place / ("tar" if folder else "data")).open("xb") as file:
                async for piece in pieces:
                    self._reserve.check(len(piece))
                    file.write(piece)
                    digest.update(piece)
                    size += len(piece)
                file.flush()
                # gRPC ends the messages of a client that hung up as if it had sent all, and cancels at the next await.
                await asyncio.to_thread(os.fsync, file.fileno())
            if folder:
                await asyncio.to_thread(_unpack, place)
            write_durably(place / "sha256", digest.hexdigest().encode())
            place.rename(self._folder / upload_id)
            sync_directory(self._folder)
        except BaseException:
            shutil.rmtree(place, ignore_errors=True)
            raise
        return Upload(id=upload_id, size_bytes=size, sha256=digest.hexdigest())

    def take(self, upload_id: str, target: Path) -> Stored:
        """Copy an upload to `target`, sharing blocks if the file system can; InvalidInputError when there is none."""
        source = self._folder / upload_id / "data"
        if not _ID.fullmatch(upload_id) or not source.exists():
            raise InvalidInputError(f"there is no upload {upload_id!r}", hint="upload the file again")
        return copy_in(source, target)

    def digest(self, upload_id: str) -> str:
        """Give the sha256 of what was received, also after its use; InvalidInputError when there is no such upload."""
        path = self._folder / upload_id / "sha256"
        if not _ID.fullmatch(upload_id) or not path.exists():
            raise InvalidInputError(f"there is no upload {upload_id!r}", hint="upload the file again")
        return path.read_text()

    def remove_data(self, upload_id: str) -> None:
        """Remove the bytes of an upload that was used; its digest stays for a repeated call of the same request_id."""
        if _ID.fullmatch(upload_id):
            data = self._folder / upload_id / "data"
            if data.is_dir():
                shutil.rmtree(data, ignore_errors=True)
            else:
                data.unlink(missing_ok=True)


def _unpack(place: Path) -> None:
    try:
        with tarfile.open(place / "tar") as tar:
            # The filter refuses devices, links and paths that lead out of the folder.
            tar.extractall(place / "data", filter="data")
        (place / "tar").unlink()
        check_output(place / "data", "the folder")
    except (tarfile.TarError, EOFError, zlib.error, lzma.LZMAError, OutputError) as error:
        raise InvalidInputError(f"the folder's tar cannot be unpacked: {error}") from error
    except OSError as error:
        if error.errno in _FULL:
            raise
        raise InvalidInputError(f"the folder's tar cannot be unpacked: {error.strerror}") from error
    sync_tree(place / "data")
