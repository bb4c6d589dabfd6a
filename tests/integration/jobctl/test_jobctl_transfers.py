"""Files that travel across interruptions: nothing twice, nothing mixed, nothing sent that is there already."""

import asyncio
import hashlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from jobctl import Client
from jobctl.__main__ import main
from jobctl.aio import AsyncClient
from jobctl.errors import DamagedTransferError, UnreachableError
from jobctl.patience import Patience

DATA = os.urandom(3_000_000)
SOON = Patience(outage=30.0, first_delay=0.01, last_delay=0.05)


@pytest.fixture(params=["blocking", "asyncio"])
def call(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    """Call a method of the client by name, of either kind."""

    def blocking(name: str, *args: Any, **rest: Any) -> Any:
        with Client.connect() as client:
            object.__setattr__(client._operations, "patience", SOON)
            return getattr(client, name)(*args, **rest)

    def awaiting(name: str, *args: Any, **rest: Any) -> Any:
        async def work() -> Any:
            async with AsyncClient.connect() as client:
                object.__setattr__(client._operations, "patience", SOON)
                return await getattr(client, name)(*args, **rest)

        return asyncio.run(work())

    return blocking if request.param == "blocking" else awaiting


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A file that is worth going on with."""
    path = tmp_path / "big.bin"
    path.write_bytes(DATA)
    return path


def test_an_upload_goes_on_where_it_broke(daemon, call, file):
    """Two broken streams, and every byte arrives once; what is told of the pieces adds up."""
    daemon.upload_faults.extend([3, 5])
    counts: list[int] = []
    upload_id = call("upload", file, counts.append)
    assert daemon.uploads[upload_id] == (False, DATA)
    offsets = [offset for _, offset in daemon.upload_streams]
    assert offsets == sorted(set(offsets))
    assert len(offsets) == 3
    assert sum(counts) == len(DATA)


def test_a_folder_goes_on_where_it_broke(daemon, call, tmp_path):
    """The tar that is made anew is the same, so that its rest fits."""
    for name in ("b", "a", "c"):
        (tmp_path / "in").mkdir(exist_ok=True)
        (tmp_path / "in" / name).write_bytes(os.urandom(700_001))
    daemon.upload_faults.append(6)
    upload_id = call("upload", tmp_path / "in")
    assert len(daemon.upload_streams) == 2
    assert daemon.upload_streams[1][1] > 0
    assert hashlib.sha256(daemon.uploads[upload_id][1]).hexdigest() == upload_id


def test_what_is_there_already_is_not_sent(daemon, call, file):
    """The second time no stream is opened, and the caller is told."""
    told: list[str] = []
    ids = {call("upload", file, on_existing=lambda: told.append("there")) for _ in range(2)}
    assert len(ids) == 1
    assert told == ["there"]
    assert len(daemon.upload_streams) == 1


def test_submit_says_what_is_there_already(daemon, job_file, capsys):
    """A second submit of the same file sends nothing, and says so to the person."""
    (job_file.parent / "video.mp4").write_bytes(DATA)
    assert main(["submit", str(job_file), "--upload"]) == 0
    assert "already there" not in capsys.readouterr().err
    assert main(["submit", str(job_file), "--upload"]) == 0
    assert "video.mp4 is already there" in capsys.readouterr().err
    assert len({request.inputs[0].upload_id for request in daemon.submits}) == 1


def test_an_upload_ends_in_an_error_when_the_daemon_stays_away(daemon, file):
    """After the patience has ended, and not before the daemon was asked again."""
    daemon.stop()
    with Client.connect() as client:
        object.__setattr__(client._operations, "patience", Patience(outage=0.5, first_delay=0.01, last_delay=0.05))
        with pytest.raises(UnreachableError):
            client.upload(file)


def test_a_file_that_changes_while_it_is_sent_is_no_upload(daemon, call, file, monkeypatch):
    """What arrived is compared with what was there at the beginning."""
    daemon.upload_faults.append(3)
    monkeypatch.setattr("jobctl.upload.Upload._look", lambda _self: (len(DATA), "0" * 64))
    with pytest.raises(DamagedTransferError):
        call("upload", file)


@pytest.mark.parametrize("kind", ["audio.wav", "stills"])
def test_a_download_goes_on_where_it_broke(daemon, call, tmp_path, kind):
    """Also a folder's, since its tar is the same each time; it arrives whole."""
    daemon.version = "v1"
    daemon.files["audio.wav"] = DATA
    daemon.folders["stills"] = {"a.png": DATA}
    daemon.faults.extend([("unavailable", 3), ("unavailable", 4)])
    counts: list[int] = []
    path = call("download", "@latest", kind, tmp_path / "out" / kind, on_bytes=counts.append)
    assert (path / "a.png" if kind == "stills" else path).read_bytes() == DATA
    assert daemon.download_offsets == [0, 300_000, 700_000]
    assert min(counts) > 0


def test_a_download_never_mixes_two_contents(daemon, call, tmp_path):
    """When the artifact is another one by now, it is fetched anew from its first byte."""
    daemon.version = "v1"
    daemon.files["audio.wav"] = DATA
    daemon.faults.append(("unavailable", 3))

    def change(_count: int) -> None:
        daemon.version, daemon.files["audio.wav"] = "v2", DATA[::-1]

    path = call("download", "@latest", "audio.wav", tmp_path / "out", on_bytes=change)
    assert path.read_bytes() == DATA[::-1]
    assert daemon.download_offsets == [0, 300_000, 0]


def test_the_digest_of_the_whole_is_compared_after_a_break(daemon, call, tmp_path):
    """Each part may be what was sent, and the whole not what the daemon has: that is an error, and nothing stays."""
    daemon.version = "v1"
    daemon.files["audio.wav"] = DATA
    daemon.faults.extend([("unavailable", 3), ("wrong whole", -1)])
    with pytest.raises(DamagedTransferError):
        call("download", "@latest", "audio.wav", tmp_path / "out" / "audio.wav")
    assert list((tmp_path / "out").iterdir()) == []
