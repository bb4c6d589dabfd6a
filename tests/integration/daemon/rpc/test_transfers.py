"""Files in and out over the wire."""

import asyncio
import hashlib
import io
import os
import tarfile
from typing import Any

import pytest
from jobapi.v1 import (
    artifact_service_pb2 as artifact_pb,
)
from jobapi.v1 import (
    job_service_pb2 as pb,
)

from jobd import events

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

        async def noted(pieces: Any, *, folder: bool) -> Any:
            begun.set()
            try:
                return await receive(pieces, folder=folder)
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
