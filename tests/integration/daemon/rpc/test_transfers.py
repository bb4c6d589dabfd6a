"""Files in and out over the wire."""

import asyncio
import errno
import hashlib
import io
import os
import shutil
import tarfile
from typing import Any

import pytest
from jobapi.v1 import (
    artifact_service_pb2 as artifact_pb,
)
from jobapi.v1 import (
    job_service_pb2 as pb,
)

from jobd import events, upload_folder
from jobd.artifact_stream import open_source
from jobd.errors import ArtifactChangedError, InvalidInputError

pytestmark = pytest.mark.timeout(60)


async def downloaded(call: Any) -> tuple[artifact_pb.DownloadHeader, bytes, str]:
    """Read a download to its end."""
    messages = [message async for message in call]
    data = b"".join(message.data for message in messages[1:-1])
    return messages[0].header, data, messages[-1].trailer.sha256


def test_an_artifact_is_downloaded_whole_or_from_an_offset(serve):
    """A file comes with its size and digest, from any byte on; one that is gone or unknown says so."""

    async def work(client) -> None:
        job = await client.submit()
        await client.happen(job.id, *client.running, *client.done)
        (client.office.state.job(job.id).artifacts / "out.txt").write_bytes(b"0123456789")
        for offset in (0, 4, 10):
            request = artifact_pb.DownloadRequest(job_id=job.id, name="out.txt", offset=offset)
            header, data, digest = await downloaded(client.artifacts.Download(request))
            assert (header.size_bytes, data) == (10, b"0123456789"[offset:])
            assert digest == hashlib.sha256(data).hexdigest()
        for name, offset, code in [
            ("out.txt", 11, "OUT_OF_RANGE"),
            ("out.txt", -1, "OUT_OF_RANGE"),
            ("in.txt", 0, "FAILED_PRECONDITION"),
            ("nothing", 0, "NOT_FOUND"),
            ("../plan.json", 0, "NOT_FOUND"),
        ]:
            request = artifact_pb.DownloadRequest(job_id=job.id, name=name, offset=offset)
            assert (await client.refused(client.artifacts.Download(request)))[0] == code, name

    serve(work)


def test_a_folder_is_downloaded_as_a_tar(serve):
    """A folder arrives as a tar of all it holds, with links as links."""

    async def work(client) -> None:
        job = await client.submit()
        published = events.ArtifactPublished(name="mid.txt", size_bytes=3, folder=True)
        await client.happen(job.id, *client.running, published)
        folder = client.office.state.job(job.id).artifacts / "mid.txt"
        (folder / "sub").mkdir(parents=True)
        (folder / "sub/é.bin").write_bytes(os.urandom(700_000))
        (folder / "link").symlink_to("sub/é.bin")
        request = artifact_pb.DownloadRequest(job_id=job.id, name="mid.txt")
        header, data, digest = await downloaded(client.artifacts.Download(request))
        assert (header.folder, digest) == (True, hashlib.sha256(data).hexdigest())
        with tarfile.open(fileobj=io.BytesIO(data)) as tar:
            assert sorted(tar.getnames()) == ["link", "sub", "sub/é.bin"]
            assert tar.extractfile("sub/é.bin").read() == (folder / "sub/é.bin").read_bytes()

    serve(work)


def test_an_upload_becomes_an_input(serve):
    """A file that was sent in pieces can be named as an input, also by a repeated submission."""

    async def work(client) -> None:
        pieces = [artifact_pb.UploadRequest(data=b"one "), artifact_pb.UploadRequest(data=b"two")]
        upload = await client.artifacts.Upload(iter(pieces))
        assert (upload.size_bytes, upload.sha256) == (7, hashlib.sha256(b"one two").hexdigest())
        request = client.request(inputs=[pb.JobInput(param_name="input", upload_id=upload.upload_id)], request_id="r1")
        job = (await client.jobs.Submit(request)).job
        assert (client.office.state.job(job.id).artifacts / "in.txt").read_bytes() == b"one two"
        again = await client.jobs.Submit(request)
        assert (again.job.id, again.existed) == (job.id, True)

    serve(work)


def test_an_upload_that_breaks_off_leaves_nothing(serve, monkeypatch: pytest.MonkeyPatch):
    """A client that hangs up in the middle leaves no upload behind, and one that sends nothing is told so."""

    async def work(client) -> None:
        begun, ended = asyncio.Event(), asyncio.Event()
        receive = client.office.uploads.receive

        async def noted(pieces: Any, **rest: Any) -> Any:
            begun.set()
            try:
                return await receive(pieces, **rest)
            finally:
                ended.set()

        monkeypatch.setattr(client.office.uploads, "receive", noted)
        call = client.artifacts.Upload()
        await call.write(artifact_pb.UploadRequest(data=b"half"))
        await asyncio.wait_for(begun.wait(), 20)
        call.cancel()
        await asyncio.wait_for(ended.wait(), 20)
        assert list(client.office.state.uploads.iterdir()) == []
        assert (await client.refused(client.artifacts.Upload(iter([]))))[0] == "INVALID_ARGUMENT"

    serve(work)


async def ranged(client: Any, job_id: str, name: str, **rest: Any) -> tuple[artifact_pb.DownloadHeader, bytes, Any]:
    """Download a range; give the header, the bytes and the trailer."""
    request = artifact_pb.DownloadRequest(job_id=job_id, name=name, **rest)
    messages = [message async for message in client.artifacts.Download(request)]
    return messages[0].header, b"".join(message.data for message in messages[1:-1]), messages[-1].trailer


async def published(client: Any, *, folder: bool) -> tuple[str, Any]:
    """Have a job with an artifact; give its id and the artifact's path."""
    job = await client.submit()
    event = events.ArtifactPublished(name="mid.txt", size_bytes=1_000_000, folder=folder)
    await client.happen(job.id, *client.running, event)
    path = client.office.state.job(job.id).artifacts / "mid.txt"
    if folder:
        (path / "sub").mkdir(parents=True)
        (path / "sub/b").write_bytes(os.urandom(700_001))
        (path / "a").write_bytes(os.urandom(300_000))
        (path / "link").symlink_to("a")
    else:
        path.write_bytes(os.urandom(1_000_000))
    return job.id, path


@pytest.mark.parametrize("folder", [False, True])
def test_any_range_of_an_artifact_can_be_had(serve, folder: bool):
    """Ranges are parts of the whole, of a folder's tar too; the digest of the whole comes where it is asked for."""

    async def work(client) -> None:
        job_id, _path = await published(client, folder=folder)
        some, _, trailer = await ranged(client, job_id, "mid.txt", offset=7, length=1)
        assert (some.sha256, trailer.whole_sha256) == ("", "")
        asked = await ranged(client, job_id, "mid.txt", offset=7, length=1, whole_sha256=True)
        header, whole, trailer = await ranged(client, job_id, "mid.txt")
        digest = hashlib.sha256(whole).hexdigest()
        assert asked[2].whole_sha256 == trailer.sha256 == trailer.whole_sha256 == header.sha256 == digest
        assert (header.stream_bytes, header.folder) == (len(whole), folder)
        total = len(whole)
        for offset in (0, 1, 511, 512, 300_511, 300_512, 301_568, total - 1, total):
            for length in (0, 1, 513, 400_000, total, 1 << 40):
                rest = {"offset": offset, "length": length, "version": header.version}
                _, data, trailer = await ranged(client, job_id, "mid.txt", **rest)
                assert data == whole[offset : offset + length if length else total]
                assert trailer.sha256 == hashlib.sha256(data).hexdigest()
        for rest, code in (({"offset": total + 1}, "OUT_OF_RANGE"), ({"length": -1}, "INVALID_ARGUMENT")):
            assert (await client.refused(client.artifacts.Download(request_of(job_id, **rest))))[0] == code

    serve(work)


def request_of(job_id: str, **rest: Any) -> artifact_pb.DownloadRequest:
    """Ask for a range of the artifact."""
    return artifact_pb.DownloadRequest(job_id=job_id, name="mid.txt", **rest)


@pytest.mark.parametrize("folder", [False, True])
def test_a_range_of_another_content_is_refused(serve, folder: bool):
    """What was published anew under the same name, even if as large, has another version."""

    async def work(client) -> None:
        job_id, path = await published(client, folder=folder)
        header, _, _ = await ranged(client, job_id, "mid.txt", length=10)
        file = path / "a" if folder else path
        anew = file.with_name("anew")
        anew.write_bytes(os.urandom(file.stat().st_size))
        anew.replace(file)
        told = await client.refused(client.artifacts.Download(request_of(job_id, offset=10, version=header.version)))
        assert told[:2] == ("FAILED_PRECONDITION", "ARTIFACT_CHANGED")
        assert (await ranged(client, job_id, "mid.txt"))[0].version != header.version

    serve(work)


def test_an_upload_is_gone_on_with_over_the_wire(serve):
    """Begun, broken, asked for, gone on with and used; who has the wrong offset is told the right one."""

    async def work(client) -> None:
        data = os.urandom(3 << 20)
        wish = artifact_pb.BeginUploadRequest(
            request_id="u1", size_bytes=len(data), sha256=hashlib.sha256(data).hexdigest()
        )
        begun = await client.artifacts.BeginUpload(wish)
        assert (begun.offset, begun.complete) == (0, False)
        call = client.artifacts.Upload()
        await call.write(artifact_pb.UploadRequest(upload_id=begun.upload_id, data=data[: 2 << 20]))
        busy = artifact_pb.UploadRequest(upload_id=begun.upload_id, offset=1 << 40)
        while (told := await client.refused(client.artifacts.Upload(iter([busy]))))[1] != "UPLOAD_BUSY":
            assert told[1] == "OFFSET_OUT_OF_RANGE"  # its first message is not there yet
        call.cancel()
        while (told := await client.refused(client.artifacts.Upload(iter([busy]))))[1] != "OFFSET_OUT_OF_RANGE":
            assert told[1] == "UPLOAD_BUSY"
        begun = await client.artifacts.BeginUpload(wish)
        assert not begun.complete
        rest = [
            artifact_pb.UploadRequest(
                upload_id=begun.upload_id, offset=begun.offset, data=data[begun.offset : 2 << 20]
            ),
            artifact_pb.UploadRequest(data=data[max(begun.offset, 2 << 20) :], finish=True),
        ]
        answer = await client.artifacts.Upload(iter(rest))
        assert (answer.complete, answer.size_bytes, answer.sha256) == (True, len(data), wish.sha256)
        inputs = [pb.JobInput(param_name="input", upload_id=answer.upload_id)]
        job = (await client.jobs.Submit(client.request(inputs=inputs))).job
        assert (client.office.state.job(job.id).artifacts / "in.txt").read_bytes() == data
        again = await client.artifacts.BeginUpload(artifact_pb.BeginUploadRequest(sha256=wish.sha256))
        assert again.complete

    serve(work)


def test_a_folder_that_goes_while_it_is_downloaded_is_told_to_be_gone(tmp_path):
    """A download that is under way when its job is deleted ends with what happened."""
    folder = tmp_path / "folder"
    folder.mkdir()
    for number in range(3):
        (folder / f"{number}").write_bytes(bytes(1 << 20))
    source = open_source(folder)
    pieces = source.read(0, source.total)
    next(pieces)
    shutil.rmtree(folder)
    with pytest.raises(ArtifactChangedError):
        list(pieces)


def test_a_job_is_taken_on_although_its_upload_cannot_be_marked(serve, monkeypatch: pytest.MonkeyPatch):
    """That it was used only says what may go sooner; the job is on record, and starts."""

    async def work(client) -> None:
        def refuse(_upload_id: str) -> None:
            raise OSError(errno.ENOSPC, "no room")

        monkeypatch.setattr(client.office.uploads, "release", refuse)
        upload = await client.artifacts.Upload(iter([artifact_pb.UploadRequest(data=b"bytes")]))
        job = await client.submit(inputs=[pb.JobInput(param_name="input", upload_id=upload.upload_id)])
        assert await client.office.launched() == job.id

    serve(work)


def test_a_tar_of_names_for_one_file_needs_room_for_each(tmp_path):
    """What is small as a tar may be large as files: links in it become files of their own."""
    archive = tmp_path / "folder.tar"
    with tarfile.open(archive, "w") as tar:
        member = tarfile.TarInfo("file")
        member.size = 1000
        tar.addfile(member, io.BytesIO(bytes(1000)))
        for number in range(3):
            link = tarfile.TarInfo(f"link{number}")
            link.type, link.linkname = tarfile.LNKTYPE, "file" if number == 0 else f"link{number - 1}"
            tar.addfile(link)
    asked: list[int] = []
    upload_folder.unpack(archive, tmp_path / "folder", check_room=asked.append)
    assert asked == [1000] * 4
    assert {path.stat().st_nlink for path in (tmp_path / "folder").iterdir()} == {1}


@pytest.mark.parametrize("unfit", ["1e300", "nan", "inf", "deep"])
def test_a_tar_that_no_tool_makes_is_refused(tmp_path, unfit: str):
    """Times that are none, and folders in folders without end, are an input that cannot be used."""
    archive = tmp_path / "folder.tar"
    with tarfile.open(archive, "w", format=tarfile.PAX_FORMAT) as tar:
        member = tarfile.TarInfo("/".join(["d"] * 1500) + "/file" if unfit == "deep" else "file")
        if unfit != "deep":
            member.pax_headers = {"mtime": unfit}
        tar.addfile(member, io.BytesIO())
    with pytest.raises(InvalidInputError):
        upload_folder.unpack(archive, tmp_path / "folder", check_room=lambda _size: None)
    assert not (tmp_path / "folder").exists()


def test_what_cannot_be_an_upload_is_refused(serve):
    """Digests that are none, sizes below nothing or beyond everything, request ids that are too long."""

    async def work(client) -> None:
        for rest, told in (
            ({"sha256": "x"}, ("INVALID_ARGUMENT", "INVALID_REQUEST")),
            ({"sha256": "A" * 64}, ("INVALID_ARGUMENT", "INVALID_REQUEST")),
            ({"size_bytes": -1}, ("INVALID_ARGUMENT", "INVALID_REQUEST")),
            ({"size_bytes": (1 << 63) - 1}, ("INVALID_ARGUMENT", "INVALID_REQUEST")),
            ({"request_id": "x" * 129}, ("RESOURCE_EXHAUSTED", "LIMIT_EXCEEDED")),
        ):
            call = client.artifacts.BeginUpload(artifact_pb.BeginUploadRequest(**rest))
            assert (await client.refused(call))[:2] == told
        unknown = artifact_pb.UploadRequest(upload_id="../x", data=b"x", finish=True)
        assert (await client.refused(client.artifacts.Upload(iter([unknown]))))[:2] == ("NOT_FOUND", "UPLOAD_NOT_FOUND")
        assert list(client.office.state.uploads.iterdir()) == []

    serve(work)
