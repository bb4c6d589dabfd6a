"""Files on their way in: whole or not there at all, and never anything that leads out of their folder."""

import asyncio
import gzip
import hashlib
import io
import os
import tarfile
from collections.abc import AsyncIterator, Callable, Iterable
from pathlib import Path

import pytest

from jobd.artifacts import copy_in
from jobd.errors import DiskFullError, InvalidInputError, JobdError
from jobd.uploads import Upload, Uploads


@pytest.fixture
def uploads(tmp_path: Path) -> Uploads:
    """Give an empty folder of uploads."""
    (tmp_path / "uploads").mkdir()
    return Uploads(tmp_path / "uploads")


@pytest.fixture
def receive(uploads: Uploads) -> Callable[..., Upload]:
    """Give a function that uploads pieces; an exception among them breaks the transfer."""

    def run(*pieces: bytes | BaseException, folder: bool = False) -> Upload:
        async def arriving() -> AsyncIterator[bytes]:
            for piece in pieces:
                if isinstance(piece, BaseException):
                    raise piece
                yield piece

        return asyncio.run(uploads.receive(arriving(), folder=folder))

    return run


def tar(*members: tarfile.TarInfo | tuple[str, bytes]) -> bytes:
    """Make a tar of files with content, and of other members as they are described."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for member in members:
            if isinstance(member, tarfile.TarInfo):
                archive.addfile(member)
            else:
                info = tarfile.TarInfo(member[0])
                info.size = len(member[1])
                archive.addfile(info, io.BytesIO(member[1]))
    return buffer.getvalue()


def special(name: str, kind: bytes, link: str = "") -> tarfile.TarInfo:
    """Describe a member that is no file."""
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, link
    return info


def everything(folder: Path) -> list[str]:
    """Name all that a folder holds, at any depth."""
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


def test_a_file_arrives_whole(uploads: Uploads, receive, tmp_path: Path):
    """The pieces make the file, in order, with its size and its digest, and it can be taken as an input."""
    pieces = [os.urandom(1000) for _ in range(5)] + [b""]
    upload = receive(*pieces)
    data = b"".join(pieces)
    assert (upload.size_bytes, upload.sha256) == (5000, hashlib.sha256(data).hexdigest())
    stored = uploads.take(upload.id, tmp_path / "in.bin")
    assert ((tmp_path / "in.bin").read_bytes(), stored.size_bytes, stored.folder) == (data, 5000, False)


def test_an_empty_file_arrives(uploads: Uploads, receive, tmp_path: Path):
    """A file of no bytes is a file."""
    uploads.take(receive().id, tmp_path / "empty")
    assert (tmp_path / "empty").read_bytes() == b""


def test_a_folder_arrives_as_it_was(uploads: Uploads, receive, tmp_path: Path):
    """Files at any depth, an empty folder and a link within come out as they went in."""
    folder = tarfile.TarInfo("empty")
    folder.type = tarfile.DIRTYPE
    data = tar(("a.txt", b"1"), ("sub/deep/é.txt", b"22"), folder)
    stored = uploads.take(receive(data[:700], data[700:], folder=True).id, tmp_path / "in")
    assert everything(tmp_path / "in") == ["a.txt", "empty", "sub", "sub/deep", "sub/deep/é.txt"]
    assert (stored.size_bytes, stored.folder) == (3, True)


@pytest.mark.parametrize("error", [ConnectionError("gone"), asyncio.CancelledError(), OSError("disk")], ids=repr)
@pytest.mark.parametrize("folder", [False, True])
def test_a_broken_transfer_leaves_nothing(receive, tmp_path: Path, error: BaseException, folder: bool):
    """When the client goes away in the middle, nothing of the upload is left, under no name."""
    with pytest.raises(type(error)):
        receive(b"half", error, folder=folder)
    assert everything(tmp_path / "uploads") == []


@pytest.mark.parametrize(
    "data",
    [
        tar(("../out.txt", b"x")),
        tar(("a/../../out.txt", b"x")),
        tar(special("link", tarfile.SYMTYPE, "/etc/hostname")),
        tar(special("link", tarfile.SYMTYPE, "../../..")),
        tar(special("link", tarfile.LNKTYPE, "/etc/hostname")),
        tar(special("link", tarfile.LNKTYPE, "../tar")),
        tar(special("d", tarfile.SYMTYPE, ".."), ("d/out.txt", b"x")),
        tar(special("null", tarfile.CHRTYPE)),
        tar(special("disk", tarfile.BLKTYPE)),
        tar(special("pipe", tarfile.FIFOTYPE)),
        tar(("a", b"x"), ("a/b", b"x")),
        tar(special("loop", tarfile.SYMTYPE, "loop")),
        tar(special("gone", tarfile.SYMTYPE, "nothing")),
        tar(("x" * 300, b"x")),
        b"this is no tar",
        b"",
        tar(("a.txt", b"x" * 5000))[:2000],
        gzip.compress(tar(("a.txt", os.urandom(50_000))))[:20_000],
    ],
    ids=[
        "dots", "inner dots", "link", "folder link", "hard link", "hard link to tar", "through a link", "device",
        "disk", "pipe", "file as folder", "loop", "dangling", "long name", "text", "nothing", "cut", "cut gzip",
    ],
)  # fmt: skip
def test_a_folder_that_cannot_be_used_is_refused(receive, tmp_path: Path, data: bytes):
    """A tar that is none, or that holds links out, devices, pipes or paths with dots, is the client's error."""
    with pytest.raises(JobdError) as caught:
        receive(data, folder=True)
    assert isinstance(caught.value, InvalidInputError)
    assert everything(tmp_path) == ["uploads"]


def test_an_absolute_path_stays_in_the_folder(uploads: Uploads, receive, tmp_path: Path):
    """A member with an absolute path is refused or lands below the folder."""
    name = str(tmp_path / "escaped.txt")
    try:
        upload = receive(tar((name, b"x")), folder=True)
    except InvalidInputError:
        pass
    else:
        uploads.take(upload.id, tmp_path / "in")
    assert not (tmp_path / "escaped.txt").exists()


@pytest.mark.parametrize("upload_id", ["", "0" * 32, "../uploads", ".", "a" * 31, "A" * 32, "0" * 32 + "\n"])
def test_an_upload_that_is_not_there_is_refused(uploads: Uploads, tmp_path: Path, upload_id: str):
    """An id that no upload has, or that is none, is an error, and removing it removes nothing."""
    (tmp_path / "uploads/data").write_text("x")
    for ask in (lambda: uploads.take(upload_id, tmp_path / "in"), lambda: uploads.digest(upload_id)):
        with pytest.raises(InvalidInputError, match="there is no upload"):
            ask()
    uploads.release(upload_id)
    assert everything(tmp_path) == ["uploads", "uploads/data"]


@pytest.mark.parametrize("folder", [False, True])
def test_the_bytes_of_a_used_upload_go_first(uploads: Uploads, receive, tmp_path: Path, folder: bool):
    """When the disk is short, bytes that a job has taken go; what they were can still be told to who asks again."""
    upload, unused = receive(tar(("a", b"x")), folder=folder), receive(b"unused")
    uploads.take(upload.id, tmp_path / "in")
    uploads.release(upload.id)
    assert uploads.take(upload.id, tmp_path / "while there is room")
    with pytest.raises(DiskFullError):
        uploads._reserve.check(1 << 60)
    assert uploads.digest(upload.id) == upload.sha256
    assert not (tmp_path / "uploads" / upload.id / "data").exists()
    assert uploads.take(unused.id, tmp_path / "unused").size_bytes == 6
    with pytest.raises(InvalidInputError, match="there is no upload"):
        uploads.take(upload.id, tmp_path / "again")


def test_an_input_is_copied_not_shared(tmp_path: Path):
    """What the client does to its file afterwards does not change the job's input; a link is followed."""
    (tmp_path / "video").write_text("before")
    (tmp_path / "link").symlink_to("video")
    assert copy_in(tmp_path / "link", tmp_path / "in").size_bytes == 6
    (tmp_path / "video").write_text("after")
    assert (tmp_path / "in").read_text() == "before"
    assert not (tmp_path / "in").is_symlink()


def refused_inputs(folder: Path) -> Iterable[Path]:
    """Make things that cannot be an input."""
    os.mkfifo(folder / "pipe")
    (folder / "dangling").symlink_to("nothing")
    (folder / "loop").symlink_to("loop")
    for name in ("pipe", "loop", "dangling"):
        (folder / f"with {name}").mkdir()
        (folder / f"with {name}" / name).symlink_to(folder / name)
    return [Path("/dev/null"), folder / "missing", *sorted(folder.iterdir())]


def test_an_input_that_is_no_file_or_folder_is_refused(tmp_path: Path):
    """Pipes, devices, links to nothing, and folders that hold one, are errors, and none of them blocks."""
    for number, source in enumerate(refused_inputs(tmp_path)):
        with pytest.raises(InvalidInputError, match=r"\S"):
            copy_in(source, tmp_path / f"in{number}")
