"""Uploads that are interrupted and gone on with: no byte twice, none missing, nobody else's, and bounded."""

import asyncio
import gzip
import hashlib
import io
import os
import tarfile
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from jobd import call_limits, procfs
from jobd.errors import (
    DigestMismatchError,
    DiskFullError,
    InvalidInputError,
    JobdError,
    OffsetOutOfRangeError,
    RequestIdReusedError,
    TooManyError,
    UploadBusyError,
    UploadNotFoundError,
)
from jobd.reserve import Reserve
from jobd.upload_session import About, Piece
from jobd.uploads import Upload, Uploads

DATA = os.urandom(3 << 20)
DIGEST = hashlib.sha256(DATA).hexdigest()
WISH = About(owner="ann", folder=False, size_bytes=len(DATA), sha256=DIGEST, request_id="r1")


def make(tmp_path: Path, reserve: Reserve | None = None) -> Uploads:
    """Make the uploads of a daemon's life, which takes back what the one before has received."""
    (tmp_path / "uploads").mkdir(exist_ok=True)
    uploads = Uploads(tmp_path / "uploads", reserve)
    uploads.take_back()
    return uploads


@pytest.fixture
def uploads(tmp_path: Path) -> Uploads:
    """Give an empty folder of uploads."""
    return make(tmp_path)


def begin(uploads: Uploads, wish: About = WISH, **changed: object) -> Upload:
    """Begin an upload, or find it."""
    return asyncio.run(uploads.begin(wish.model_copy(update=changed)))


def send(
    uploads: Uploads, upload: Upload, data: bytes, *, error: BaseException | None = None, **rest: object
) -> Upload:
    """Send bytes from where the upload is; with an error the stream breaks off, else they are the last."""

    async def arriving() -> AsyncIterator[Piece]:
        for start in range(0, len(data), 100_000):
            yield Piece(data=data[start : start + 100_000], last=False)
        if error is not None:
            raise error
        yield Piece(data=b"", last=rest.get("last", True))

    offset = rest.get("offset", upload.size_bytes)
    return asyncio.run(uploads.resume(upload.id, arriving(), owner=rest.get("owner", "ann"), offset=offset))


def break_off(uploads: Uploads, upload: Upload, data: bytes) -> None:
    """Send bytes, and then let the stream break."""
    with pytest.raises(ConnectionError):
        send(uploads, upload, data, error=ConnectionError("gone"))


def content(uploads: Uploads, upload: Upload, tmp_path: Path) -> bytes:
    """Take an upload as a job does, and read it."""
    target = tmp_path / f"taken-{upload.id}"
    uploads.take(upload.id, target)
    return target.read_bytes()


@pytest.mark.parametrize("restart", [False, True])
def test_an_interrupted_upload_goes_on_where_it_broke(tmp_path: Path, uploads: Uploads, restart: bool):
    """Nothing shows before the end; after it the file is there, as one piece, also for another daemon."""
    upload = begin(uploads)
    for end in (1 << 20, 2 << 20, 2 << 20):
        break_off(uploads, upload, DATA[upload.size_bytes : end])
        with pytest.raises(InvalidInputError):
            uploads.take(upload.id, tmp_path / "half")
        uploads = make(tmp_path) if restart else uploads
        upload = begin(uploads)
        assert not upload.whole
    assert upload.size_bytes > 1 << 20
    whole = send(uploads, upload, DATA[upload.size_bytes :])
    assert (whole.id, whole.size_bytes, whole.sha256, whole.whole) == (upload.id, len(DATA), DIGEST, True)
    assert content(uploads, whole, tmp_path) == DATA
    assert [path.name for path in (tmp_path / "uploads").iterdir()] == [whole.id]


def test_the_same_request_gives_the_same_upload(tmp_path: Path, uploads: Uploads):
    """Under way, whole, and after a restart; with other content it is an error, and of somebody else another upload."""
    upload = begin(uploads)
    assert begin(uploads).id == upload.id
    with pytest.raises(RequestIdReusedError):
        begin(uploads, size_bytes=1)
    assert begin(uploads, owner="bob").id != upload.id
    send(uploads, upload, DATA)
    for daemon in (uploads, make(tmp_path)):
        again = begin(daemon)
        assert (again.id, again.whole, again.size_bytes) == (upload.id, True, len(DATA))
        with pytest.raises(RequestIdReusedError):
            begin(daemon, sha256="0" * 64)


def test_an_upload_without_promises_ends_where_its_client_says(uploads: Uploads, tmp_path: Path):
    """Neither the size nor the digest need be known before; a stream that ends without the last piece keeps it open."""
    upload = begin(uploads, About(owner="ann", folder=False))
    for end in (5, 9):
        upload = send(uploads, upload, DATA[upload.size_bytes : end], last=False)
        assert (upload.whole, upload.size_bytes, upload.sha256) == (False, end, "")
    assert content(uploads, send(uploads, upload, b""), tmp_path) == DATA[:9]


def test_bytes_must_begin_where_the_others_end(uploads: Uploads):
    """Another offset is refused, and the error tells the right one."""
    upload = begin(uploads)
    break_off(uploads, upload, DATA[: 1 << 20])
    there = begin(uploads).size_bytes
    for offset in (0, there - 1, there + 1, -1):
        with pytest.raises(OffsetOutOfRangeError) as caught:
            send(uploads, upload, b"x", offset=offset)
        assert caught.value.metadata == {"offset": str(there)}


@pytest.mark.parametrize(
    "data", [DATA[:-1], DATA + b"x", DATA[:-1] + bytes([DATA[-1] ^ 1])], ids=["short", "long", "other"]
)
def test_other_bytes_than_were_promised_are_discarded(uploads: Uploads, tmp_path: Path, data: bytes):
    """Nothing of them stays, and the same request begins anew."""
    upload = begin(uploads)
    with pytest.raises(DigestMismatchError):
        send(uploads, upload, data)
    assert list((tmp_path / "uploads").iterdir()) == []
    with pytest.raises(UploadNotFoundError):
        send(uploads, upload, b"")
    again = begin(uploads)
    assert (again.size_bytes, again.whole) == (0, False)
    assert content(uploads, send(uploads, again, DATA), tmp_path) == DATA


def test_only_its_owner_can_go_on(uploads: Uploads):
    """To others it is not there, like an id that nobody has."""
    upload = begin(uploads)
    for owner, upload_id in (("bob", upload.id), ("ann", "0" * 32), ("ann", "../x"), ("ann", "")):
        with pytest.raises(UploadNotFoundError):
            send(uploads, Upload(id=upload_id, size_bytes=0), b"x", owner=owner)
    assert begin(uploads).size_bytes == 0


def test_one_stream_at_a_time(uploads: Uploads, tmp_path: Path):
    """A second stream is refused while the first lives, and served after it, whole bytes or broken."""

    async def scenario() -> None:
        upload = await uploads.begin(WISH)
        going, stop = asyncio.Event(), asyncio.Event()

        async def held() -> AsyncIterator[Piece]:
            yield Piece(data=DATA[: 2 << 20], last=False)
            going.set()
            await stop.wait()

        async def rest(offset: int) -> AsyncIterator[Piece]:
            yield Piece(data=DATA[offset:], last=True)

        first = asyncio.create_task(uploads.resume(upload.id, held(), owner="ann", offset=0))
        await going.wait()
        with pytest.raises(UploadBusyError):
            await uploads.resume(upload.id, rest(0), owner="ann", offset=0)
        other = await uploads.begin(WISH.model_copy(update={"request_id": "r2"}))
        assert other.id != upload.id
        first.cancel()
        with pytest.raises(asyncio.CancelledError):
            await first
        offset = (await uploads.begin(WISH)).size_bytes
        assert (await uploads.resume(upload.id, rest(offset), owner="ann", offset=offset)).sha256 == DIGEST

    asyncio.run(scenario())


def tar_of(name: str, data: bytes) -> bytes:
    """Make a tar of one file."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        info = tarfile.TarInfo(name)
        info.size = len(data)
        archive.addfile(info, io.BytesIO(data))
    return buffer.getvalue()


@pytest.mark.parametrize("folder", [False, True])
def test_the_same_bytes_are_sent_once(tmp_path: Path, uploads: Uploads, folder: bool):
    """They are there at once for their sender, stored once, as an upload of its own that outlives the first."""
    data = tar_of("a/b", b"x" * 5000) if folder else DATA
    wish = About(owner="ann", folder=folder, sha256=hashlib.sha256(data).hexdigest())
    first = send(uploads, begin(uploads, wish), data)
    for daemon in (uploads, make(tmp_path)):
        second = begin(daemon, wish)
        assert (second.whole, second.size_bytes, second.sha256) == (True, len(data), wish.sha256)
        assert second.id != first.id
        assert not begin(daemon, wish, owner="bob").whole
        assert not begin(daemon, wish, folder=not folder).whole
        assert not begin(daemon, wish, size_bytes=1).whole
    name = "data/a/b" if folder else "data"
    same = [(tmp_path / "uploads" / upload.id / name).stat() for upload in (first, second)]
    assert same[0].st_ino == same[1].st_ino
    uploads.release(first.id)
    with pytest.raises(DiskFullError):
        uploads._reserve.check(1 << 60)
    with pytest.raises(InvalidInputError):
        uploads.take(first.id, tmp_path / "first")
    assert uploads.take(second.id, tmp_path / "second").folder == folder


def test_what_one_stream_brought_is_known_too(uploads: Uploads):
    """An upload that never was begun saves its sender the next transfer as well."""

    async def arriving() -> AsyncIterator[bytes]:
        yield DATA

    asyncio.run(uploads.receive(arriving(), folder=False, owner="ann"))
    assert begin(uploads).whole
    assert not begin(uploads, owner="bob").whole


def test_an_interrupted_upload_is_found_by_its_digest(uploads: Uploads, tmp_path: Path):
    """A client that was started anew, and knows no request_id, goes on where the one before was killed."""
    upload = begin(uploads)
    break_off(uploads, upload, DATA[: 2 << 20])
    there = begin(uploads).size_bytes
    found = begin(uploads, request_id="another")
    assert (found.id, found.size_bytes) == (upload.id, there)
    assert found.size_bytes > 0
    send(uploads, found, DATA[there:])
    assert begin(uploads, request_id="another").whole


def test_uploads_that_were_begun_are_bounded(uploads: Uploads, monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    """One caller cannot take all places; those that were removed after their time give theirs back."""
    monkeypatch.setattr("jobd.upload_book.MAX_OPEN_UPLOADS_PER_CALLER", 2)
    monkeypatch.setattr("jobd.upload_book.MAX_OPEN_UPLOADS", 3)
    assert call_limits.MAX_OPEN_UPLOADS > call_limits.MAX_OPEN_UPLOADS_PER_CALLER
    anonymous = About(owner="ann", folder=False)
    upload, _other = begin(uploads, anonymous), begin(uploads, anonymous)
    with pytest.raises(TooManyError) as caught:
        begin(uploads, anonymous)
    assert caught.value.limit == "open_uploads_per_caller"
    begin(uploads, anonymous, owner="bob")
    with pytest.raises(TooManyError) as caught:
        begin(uploads, anonymous, owner="cem")
    assert caught.value.limit == "open_uploads"
    for path in (tmp_path / "uploads" / f".{upload.id}").iterdir():
        path.unlink()
    (tmp_path / "uploads" / f".{upload.id}").rmdir()
    assert begin(uploads, anonymous).id
    with pytest.raises(UploadNotFoundError):
        send(uploads, upload, b"x")


def test_the_reserve_is_kept(tmp_path: Path):
    """What has no room is refused before a byte is sent, and while bytes come; what has arrived can be gone on with."""
    room = [len(DATA)]
    reserve = Reserve(tmp_path, 0)
    uploads = make(tmp_path, reserve)

    def check(needed: int = 0) -> None:
        if needed > room[0]:
            raise DiskFullError("full")

    reserve.check = check  # type: ignore[method-assign]
    upload = begin(uploads)
    room[0] = 1000
    with pytest.raises(DiskFullError):
        begin(uploads, request_id="r2", size_bytes=1001, sha256="")
    with pytest.raises(DiskFullError):
        send(uploads, upload, DATA)
    room[0] = len(DATA)
    upload = begin(uploads)
    assert send(uploads, upload, DATA[upload.size_bytes :]).sha256 == DIGEST


def test_a_crash_of_the_machine_leaves_nothing_to_go_on_with(
    tmp_path: Path, uploads: Uploads, monkeypatch: pytest.MonkeyPatch
):
    """Bytes that were never synced may be anything after it; neither do those of a stream without a session stay."""
    upload = begin(uploads)
    break_off(uploads, upload, DATA[: 2 << 20])
    (tmp_path / "uploads" / f".{'a' * 32}").mkdir()
    monkeypatch.setattr(procfs, "boot_id", lambda: "another")
    uploads = make(tmp_path)
    assert list((tmp_path / "uploads").iterdir()) == []
    assert begin(uploads).size_bytes == 0


def test_a_folder_that_cannot_be_unpacked_is_discarded(uploads: Uploads, tmp_path: Path):
    """What is no tar, though it is what was promised, is the client's error, and stays under no name."""
    upload = begin(uploads, folder=True)
    with pytest.raises(InvalidInputError):
        send(uploads, upload, DATA)
    assert list((tmp_path / "uploads").iterdir()) == []


def test_an_upload_removed_under_its_writer_is_an_error(uploads: Uploads, tmp_path: Path):
    """Retention may take one that is silent for long; its stream is told so, and begins anew."""
    upload = begin(uploads)

    async def arriving() -> AsyncIterator[Piece]:
        yield Piece(data=b"x", last=False)
        for path in (tmp_path / "uploads" / f".{upload.id}").iterdir():
            path.unlink()
        (tmp_path / "uploads" / f".{upload.id}").rmdir()
        yield Piece(data=b"y", last=True)

    with pytest.raises(JobdError) as caught:
        asyncio.run(uploads.resume(upload.id, arriving(), owner="ann", offset=0))
    assert isinstance(caught.value, UploadNotFoundError)
    assert begin(uploads).size_bytes == 0


def test_a_small_tar_of_a_large_folder_keeps_the_reserve(tmp_path: Path):
    """What is unpacked counts, not what was sent; nothing of it stays but what can be gone on with."""
    data = gzip.compress(tar_of("zeros", bytes(5 << 20)))
    reserve = Reserve(tmp_path, 0)
    uploads = make(tmp_path, reserve)

    def check(needed: int = 0) -> None:
        if needed > 1 << 20:
            raise DiskFullError("full")

    reserve.check = check  # type: ignore[method-assign]
    upload = begin(uploads, About(owner="ann", folder=True))
    with pytest.raises(DiskFullError):
        send(uploads, upload, data)
    assert sum(path.stat().st_size for path in (tmp_path / "uploads").rglob("zeros")) == 0


def test_two_clients_with_the_same_file_do_not_wait_for_each_other(uploads: Uploads):
    """Both are led to the same interrupted upload; the one that comes late is given another when it asks again."""

    async def scenario() -> None:
        first = await uploads.begin(WISH)
        second = await uploads.begin(WISH.model_copy(update={"request_id": "r2"}))
        assert second.id == first.id
        going, stop = asyncio.Event(), asyncio.Event()

        async def held() -> AsyncIterator[Piece]:
            going.set()
            await stop.wait()
            yield Piece(data=DATA, last=True)

        sending = asyncio.create_task(uploads.resume(first.id, held(), owner="ann", offset=0))
        await going.wait()
        other = await uploads.begin(WISH.model_copy(update={"request_id": "r2"}))
        assert other.id != first.id
        assert (await uploads.begin(WISH)).id == first.id
        stop.set()
        assert (await sending).sha256 == DIGEST
        assert (await uploads.begin(WISH.model_copy(update={"request_id": "r3"}))).whole

    asyncio.run(scenario())
