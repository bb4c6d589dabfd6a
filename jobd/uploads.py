"""Files on their way in from clients that do not share the daemon's disk.

An upload is a folder `<id>` that holds `data` and its `sha256`; it appears under its id once it is whole and on disk.
Until then it is the folder `.<id>`. One of a single stream is gone when its stream breaks; of others what has arrived
stays, also for the next daemon.
"""

import asyncio
import re
import secrets
from collections.abc import AsyncIterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from jobd import procfs
from jobd.artifacts import Stored, copy_in
from jobd.errors import (
    DigestMismatchError,
    InvalidInputError,
    OffsetOutOfRangeError,
    RequestIdReusedError,
)
from jobd.layout import sync_directory
from jobd.reserve import Reserve
from jobd.trees import discard, tree_size
from jobd.upload_book import Book
from jobd.upload_part import bring_to_end, pour, run_to_end
from jobd.upload_session import About, Arriving, Piece, Session
from jobd.upload_shelf import DATA, Shelf

_ID = re.compile(r"[0-9a-f]{32}")
_THREADS = 4
"""Threads of their own: a slow disk must not keep others waiting."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Upload:
    """An upload, and how far it is."""

    id: str
    size_bytes: int
    """The bytes received."""
    sha256: str = ""
    """Of the bytes received, in lower-case hexadecimal; empty where it is not whole."""
    whole: bool = True


class Uploads:
    """The uploads in one folder."""

    def __init__(self, folder: Path, reserve: Reserve | None = None) -> None:
        """Serve `folder`, as long as its disk has more free than `reserve`."""
        self._folder = folder
        self._reserve = reserve or Reserve(folder, 0)
        self._book = Book()
        self._shelf = Shelf(folder)
        self._beginning = asyncio.Lock()
        self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="upload")
        # What was kept only to save somebody a transfer is the first to go.
        self._reserve.relieve = self._shelf.drop_used

    def take_back(self) -> None:
        """Go on with what an earlier daemon has received, and remove what nobody can go on with."""
        for place in sorted(self._folder.iterdir()):
            upload_id = place.name.removeprefix(".")
            if not _ID.fullmatch(upload_id):
                continue
            if place.name == upload_id:
                if about := About.load(place):
                    self._shelf.add(upload_id, about)
                    self._book.name(upload_id, about)
            elif session := Session.take_back(upload_id, place):
                self._book.add(session)
                self._book.name(upload_id, session.about)
            else:
                discard(place)

    async def receive(self, pieces: AsyncIterable[bytes], *, folder: bool, owner: str = "") -> Upload:
        """Take the bytes of a file, or of a folder's tar; nothing stays of a transfer that breaks.

        DiskFullError when it would use up the reserve.
        """
        session = self._make(About(owner=owner, folder=folder))
        try:
            await pour(pieces, session.part, check_room=self._reserve.check, threads=self._threads)
            # gRPC ends the messages of a client that hung up as if it had sent all, and cancels at the next await.
            return await self._finish(session)
        except BaseException:
            discard(session.place)
            discard(self._folder / session.id)
            raise
        finally:
            session.part.close()

    async def begin(self, about: About) -> Upload:
        """Begin an upload that can be interrupted, or find the one that is meant, which may be whole already.

        RequestIdReusedError when its request_id belongs to another one, TooManyError when there are too many under way,
        DiskFullError when there is no room for it.
        """
        async with self._beginning:
            upload = self._find_begun(about) or await self._find_same(about) or self._begin(about)
            self._book.name(upload.id, about)
            return upload

    async def resume(self, upload_id: str, pieces: AsyncIterable[Piece], *, owner: str, offset: int) -> Upload:
        """Take more bytes of an upload that was begun by `owner`, from `offset` on; it is whole with the last one.

        UploadNotFoundError, UploadBusyError or OffsetOutOfRangeError say why it cannot be gone on with, DiskFullError
        that there is no room. DigestMismatchError or InvalidInputError say that it was discarded.
        """
        session = self._book.claim(upload_id, owner)
        try:
            return await self._resume(session, pieces, offset)
        finally:
            session.part.close()
            session.writing = False

    def take(self, upload_id: str, target: Path) -> Stored:
        """Copy an upload to `target`, sharing blocks if the file system can; InvalidInputError when there is none."""
        return copy_in(self._find(upload_id, DATA), target)

    def size(self, upload_id: str) -> int:
        """Give how many bytes an upload has; InvalidInputError when there is none."""
        return tree_size(self._find(upload_id, DATA))

    def digest(self, upload_id: str) -> str:
        """Give the sha256 of what was received, also after its use; InvalidInputError when there is no such upload."""
        return self._find(upload_id, "sha256").read_text()

    def release(self, upload_id: str) -> None:
        """Let the bytes of an upload that a job has taken go when room is needed; until then they may save a transfer.

        Its digest stays for a repeated call of the same request_id.
        """
        if _ID.fullmatch(upload_id) and (self._folder / upload_id).exists():
            self._shelf.note_used(upload_id)

    def _find(self, upload_id: str, name: str) -> Path:
        path = self._folder / upload_id / name
        if not _ID.fullmatch(upload_id) or not path.exists():
            raise InvalidInputError(f"there is no upload {upload_id!r}", hint="upload the file again")
        return path

    def _make(self, about: About) -> Session:
        upload_id = secrets.token_hex(16)
        return Session.make(upload_id, self._folder / f".{upload_id}", about)

    def _begin(self, about: About) -> Upload:
        self._book.check_number(about.owner)
        self._reserve.check(about.size_bytes or 0)
        session = self._make(about.model_copy(update={"boot_id": procfs.boot_id()}))
        self._book.add(session)
        return _describe(session)

    def _find_begun(self, about: About) -> Upload | None:
        """Find the upload of the same request_id."""
        upload_id = self._book.named(about)
        session = self._book.get(upload_id)
        whole = bool(upload_id) and (self._folder / upload_id / DATA).exists()
        known = session.about if session else About.load(self._folder / upload_id) if whole else None
        if known is None or (session and session.writing and known.request_id != about.request_id):
            return None  # it is gone, or was another client's to begin with, who is sending again
        if not known.covers(about):
            raise RequestIdReusedError(f"the request_id {about.request_id!r} belongs to an upload with other content")
        return _describe(session) if session else _describe_whole(upload_id, known)

    async def _find_same(self, about: About) -> Upload | None:
        """Find what has the same digest and is whole, or was interrupted."""
        if not about.sha256:
            return None
        upload_id = secrets.token_hex(16)
        place = self._folder / f".{upload_id}"
        if found := await run_to_end(partial(self._shelf.copy, about, place), self._threads):
            return await self._publish(upload_id, place, found)
        session = self._book.find_interrupted(about)
        return _describe(session) if session else None

    async def _resume(self, session: Session, pieces: AsyncIterable[Piece], offset: int) -> Upload:
        if offset != session.part.size:
            raise OffsetOutOfRangeError(
                f"upload {session.id} goes on at byte {session.part.size}, not {offset}", offset=session.part.size
            )
        arriving = Arriving(session, pieces)
        try:
            await pour(arriving.read(), session.part, check_room=self._reserve.check, threads=self._threads)
            if not arriving.finished:
                return _describe(session)
            upload = await bring_to_end(asyncio.ensure_future(self._finish(session)))
        except (DigestMismatchError, InvalidInputError):
            self._book.remove(session)
            await run_to_end(partial(discard, session.place), self._threads)
            raise
        return upload

    async def _finish(self, session: Session) -> Upload:
        about = await run_to_end(partial(session.settle, self._reserve.check), self._threads)
        upload = await self._publish(session.id, session.place, about)
        self._book.remove(session)
        return upload

    async def _publish(self, upload_id: str, place: Path, about: About) -> Upload:
        await run_to_end(partial(_name, place, self._folder / upload_id), self._threads)
        self._shelf.add(upload_id, about)
        return _describe_whole(upload_id, about)


def _describe(session: Session) -> Upload:
    return Upload(id=session.id, size_bytes=session.part.size, whole=False)


def _describe_whole(upload_id: str, about: About) -> Upload:
    return Upload(id=upload_id, size_bytes=about.size_bytes or 0, sha256=about.sha256)


def _name(place: Path, whole: Path) -> None:
    place.rename(whole)
    sync_directory(whole.parent)
