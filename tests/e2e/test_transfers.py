"""Files that travel while the daemon is killed: both ways they arrive whole, and nothing half is ever to be seen."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from jobapi.v1 import job_pb2
from jobctl import Client

pytestmark = pytest.mark.timeout(600)

ALONE = ("--prefect-api-url=http://127.0.0.1:1/api", "--prefect-grace=0")
SIZE = 64 << 20
"""More than what the sockets and buffers between two processes can hold."""


def killing(daemon, at: int) -> Callable[[int], None]:
    """Make what is told of each piece, and kills the daemon, and starts the next one, once so many bytes have gone."""
    gone, killed = 0, False

    def count(size: int) -> None:
        nonlocal gone, killed
        gone += size
        if gone >= at and not killed:
            killed = True
            daemon.kill()
            daemon.start()

    return count


def lives(daemon) -> int:
    """Count how often a daemon was started."""
    return sum("serving" in line and "version" in line for line in daemon.log.splitlines())


def test_files_travel_across_the_death_of_the_daemon(serve, jobs, tmp_path: Path):
    """An upload and a download go on with the next daemon, from where they were, and what arrives is what was sent."""
    daemon = serve(*ALONE)
    source = tmp_path / "source"
    source.mkdir()
    for name in ("first.bin", "second.bin"):
        (source / name).write_bytes(os.urandom(1 << 20) * (SIZE >> 21))
    entry = {
        "module": "mirror",
        "input_artifacts": [{"name": "in", "param_name": "source", "type": "folder"}],
        "output_artifacts": [{"name": "out", "param_name": "target", "type": "folder", "public": True}],
    }
    document = jobs.write([entry], input_artifacts=[{"param_name": "source", "type": "folder"}])
    with Client.connect(f"unix:{daemon.socket}") as client:
        given = client.make_input("source", source, upload=True, on_bytes=killing(daemon, SIZE // 3))
        assert [path.name for path in (daemon.state / "uploads").iterdir()] == [given.upload_id]
        assert lives(daemon) == 2
        told: list[str] = []
        client.make_input("source", source, upload=True, on_existing=lambda: told.append("there"))
        assert told == ["there"]
        job = client.submit(document, inputs=[given]).job
        assert client.wait(job.id).state == job_pb2.JOB_STATE_SUCCEEDED
        target = client.download(job.id, "out", tmp_path / "to" / "out", on_bytes=killing(daemon, SIZE // 3))
    assert {path.name for path in target.iterdir()} == {"first.bin", "second.bin", "added.txt"}
    for path in source.iterdir():
        assert (target / path.name).read_bytes() == path.read_bytes()
    assert [path.name for path in target.parent.iterdir()] == ["out"]
    assert lives(daemon) == 3
