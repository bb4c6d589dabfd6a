"""A download that was interrupted goes on with the next run of the command, and never with what does not fit."""

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from time import monotonic, sleep

import pytest
from jobctl import Client
from jobctl.__main__ import main
from jobctl.aio import AsyncClient
from jobctl.errors import DamagedTransferError, UnreachableError
from jobctl.part import Origin, open_part
from jobctl.patience import Patience

DATA = os.urandom(1_000_000)
HALF = 500_000


@pytest.fixture(autouse=True)
def content(daemon):
    """A file, and a folder with the same bytes."""
    daemon.version = "v1"
    daemon.files["audio.wav"] = DATA
    daemon.folders["stills"] = {"a.png": DATA}
    daemon.job.artifacts[0].size_bytes = len(DATA)


@pytest.fixture
def interrupt(daemon, tmp_path: Path) -> Callable[..., tuple[int, str]]:
    """How to begin a download of an artifact and send a signal in its midst; gives the exit code and what was said."""

    def begin(name: str = "audio.wav", number: int = signal.SIGINT, *options: str) -> tuple[int, str]:
        daemon.held.clear()
        daemon.faults.append(("silence", 5))
        command = [sys.executable, "-m", "jobctl", "download", "@latest", name, "--to", str(tmp_path / "out"), *options]
        process = subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True)
        try:
            assert daemon.held.wait(30)
            wait_for_bytes(tmp_path / "out" / f"{name}.part" / "bytes")
            process.send_signal(number)
            _, said = process.communicate(timeout=30)
            return process.returncode, said
        finally:
            process.kill()
            process.wait()

    return begin


def wait_for_bytes(path: Path) -> None:
    """Wait until a download has written what the daemon has sent, but for a last piece that may be on its way."""
    deadline = monotonic() + 30
    while not path.exists() or path.stat().st_size < HALF - 100_000:
        assert monotonic() < deadline, "what was sent is not written"
        sleep(0.01)


@pytest.mark.parametrize("name", ["audio.wav", "stills"])
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_the_next_run_goes_on_where_one_was_interrupted(daemon, tmp_path, interrupt, name, number):
    """However the first run ends, there is no half file under the final name, and the second asks only for the rest."""
    interrupt(name, number)
    assert [path.name for path in (tmp_path / "out").iterdir()] == [f"{name}.part"]
    there = (tmp_path / "out" / f"{name}.part" / "bytes").stat().st_size

    assert main(["download", "@latest", name, "--to", str(tmp_path / "out")]) == 0

    target = tmp_path / "out" / name
    assert (target / "a.png" if name == "stills" else target).read_bytes() == DATA
    assert daemon.download_offsets == [0, there]
    assert there >= HALF - 100_000
    assert [path.name for path in (tmp_path / "out").iterdir()] == [name]


def test_ctrl_c_says_what_is_kept(interrupt, tmp_path):
    """The person learns how much is there, where, and that the same command goes on; the code is 130."""
    code, said = interrupt()
    assert code == 130
    assert f"KiB are kept in {tmp_path}/out/audio.wav.part: the same command goes on from there" in said


def test_another_content_is_fetched_from_its_first_byte(daemon, tmp_path, interrupt):
    """The artifact has changed between the runs: nothing of the first is used."""
    interrupt()
    daemon.version, daemon.files["audio.wav"] = "v2", DATA[::-1]
    assert main(["download", "@latest", "audio.wav", "--to", str(tmp_path / "out")]) == 0
    assert (tmp_path / "out" / "audio.wav").read_bytes() == DATA[::-1]
    assert len(daemon.download_offsets) == 3
    assert daemon.download_offsets[1] > 0 == daemon.download_offsets[2]


def test_a_part_of_another_job_is_not_used(daemon, tmp_path, interrupt):
    """The same name in the same folder, but of another job: fetched from its first byte."""
    interrupt()
    part = tmp_path / "out" / "audio.wav.part"
    origin = json.loads((part / "origin.json").read_text())
    (part / "origin.json").write_text(json.dumps({**origin, "job_id": "another"}))
    assert main(["download", "@latest", "audio.wav", "--to", str(tmp_path / "out")]) == 0
    assert daemon.download_offsets == [0, 0]


@pytest.mark.parametrize("damage", ["changed", "longer", "no origin"])
def test_a_part_that_is_not_what_it_should_be_is_begun_anew(daemon, tmp_path, interrupt, damage):
    """Bytes that a crash of the machine has spoilt are found by their digest, and fetched again in the same run."""
    interrupt()
    part = tmp_path / "out" / "audio.wav.part"
    if damage == "no origin":
        (part / "origin.json").write_text("{")
    else:
        (part / "bytes").write_bytes(b"x" * (HALF if damage == "changed" else 2 * len(DATA)))
    assert main(["download", "@latest", "audio.wav", "--to", str(tmp_path / "out")]) == 0
    assert (tmp_path / "out" / "audio.wav").read_bytes() == DATA
    assert daemon.download_offsets[-1] == 0
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["audio.wav"]


def test_what_has_that_name_already_is_left_alone(tmp_path):
    """A file or folder of the user's called TARGET.part stays as it is; the download goes another way."""
    (tmp_path / "audio.wav.part").write_text("mine")
    (tmp_path / "stills.part").mkdir()
    (tmp_path / "stills.part" / "mine").write_text("mine")
    assert main(["download", "@latest", "audio.wav", "stills", "--to", str(tmp_path)]) == 0
    assert (tmp_path / "audio.wav").read_bytes() == DATA
    assert (tmp_path / "audio.wav.part").read_text() == "mine"
    assert (tmp_path / "stills.part" / "mine").read_text() == "mine"


def test_a_name_too_long_for_a_part_is_fetched_all_the_same(daemon, tmp_path):
    """A name of 255 bytes leaves no room for an ending: nothing lasts, but the download works."""
    name = "a" * 255
    daemon.files[name] = DATA
    daemon.job.artifacts.add(name=name, public=True, state="ARTIFACT_STATE_PRESENT", size_bytes=len(DATA))
    assert main(["download", "@latest", name, "--to", str(tmp_path)]) == 0
    assert (tmp_path / name).read_bytes() == DATA


def test_two_downloads_never_write_to_one_part(tmp_path, capsys):
    """The second is refused while the first is at it."""
    with open_part(tmp_path / "audio.wav", lasting=True, keep=lambda _error: True):
        assert main(["download", "@latest", "audio.wav", "--to", str(tmp_path)]) == 1
    assert "another download is writing to" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_without_resume_nothing_stays(daemon, tmp_path):
    """The Python client keeps what has arrived only when it is told to, and then goes on from it."""
    short = Patience(outage=0.0)
    daemon.faults.extend([("unavailable", 3)] * 2)
    with Client.connect() as client:
        object.__setattr__(client._operations, "patience", short)
        with pytest.raises(UnreachableError):
            client.download("@latest", "audio.wav", tmp_path / "audio.wav")
        assert list(tmp_path.iterdir()) == []
        with pytest.raises(UnreachableError):
            client.download("@latest", "audio.wav", tmp_path / "audio.wav", resume=True)
    assert (tmp_path / "audio.wav.part" / "bytes").read_bytes() == DATA[:300_000]

    async def go_on() -> int:
        counts: list[int] = []
        async with AsyncClient.connect() as client:
            await client.download("@latest", "audio.wav", tmp_path / "audio.wav", resume=True, on_bytes=counts.append)
        assert counts[0] == 300_000
        return sum(counts)

    assert asyncio.run(go_on()) == len(DATA)
    assert (tmp_path / "audio.wav").read_bytes() == DATA


def test_what_arrives_damaged_is_not_kept(daemon, tmp_path):
    """A digest that differs although all bytes are new leaves nothing to go on from."""
    daemon.faults.append(("damage", -1))
    with Client.connect() as client, pytest.raises(DamagedTransferError):
        client.download("@latest", "audio.wav", tmp_path / "audio.wav", resume=True)
    assert list(tmp_path.iterdir()) == []


def test_an_older_daemon_leaves_nothing_to_go_on_from(daemon, tmp_path, interrupt):
    """Without a version nobody could tell whether the rest fits: the part goes, and the next run begins anew."""
    daemon.version = ""
    interrupt()
    assert list((tmp_path / "out").iterdir()) == []


def test_a_part_is_noted_before_its_first_byte(tmp_path):
    """So that bytes without a known origin cannot exist, and are cleared where they do."""
    with open_part(tmp_path / "x", lasting=True, keep=lambda _error: True) as part:
        assert part.read_origin() is None
        part.note(Origin(job_id="j", name="x", version="v"))
        assert part.read_origin() == Origin(job_id="j", name="x", version="v")
        part.clear()
        assert part.read_origin() is None
    assert list(tmp_path.iterdir()) == []
