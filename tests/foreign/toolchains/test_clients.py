"""The example clients in other languages, each from its own language's tools to a job's end."""

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.timeout(900)  # the first build of each fetches what it needs


@pytest.fixture
def go(workshop: Any) -> list[object]:
    """The command of the Go client."""
    workshop.require("go")
    return [workshop.build("go", ["./generate.sh"], ["go", "build", "-o", "bin/example", "."]) / "bin/example"]


@pytest.fixture
def node(workshop: Any) -> list[object]:
    """The command of the TypeScript client."""
    workshop.require("node", "npm")
    return [
        "node",
        workshop.build("node", ["npm", "ci", "--no-audit", "--no-fund"], ["npm", "run", "build"]) / "dist/main.js",
    ]


@pytest.fixture
def java(workshop: Any) -> list[object]:
    """The command of the Java client."""
    workshop.require("javac", "java", "mvn")
    options = [f"-Dmaven.repo.local={workshop.maven_repository}", f"-Dprotos={workshop.protos}"]
    folder = workshop.build("java", ["mvn", "-B", "-q", "-ntp", *options, "package"])
    return ["java", "-jar", folder / "target/example-0.1.0.jar"]


@pytest.fixture(params=["go", "node", "java"])
def command(request: pytest.FixtureRequest) -> list[object]:
    """The command of each client in turn."""
    words: list[object] = request.getfixturevalue(request.param)
    return words


@pytest.fixture
def start(
    command: list[object], run: Callable[..., Any], sample: Path, tmp_path: Path
) -> Callable[[Any, Path, Path], Any]:
    """How to start a client with a daemon, a token and a job file; it is to fetch audio.wav into the test's folder."""

    def start_client(daemon: Any, token: Path, job: Path) -> Any:
        return run(*command, daemon.address, token, job, f"input={sample}", "audio.wav", tmp_path)

    return start_client


def test_a_client_goes_through_a_job_across_two_restarts(
    start: Callable[..., Any], own_daemon: Any, held: Any, tmp_path: Path
) -> None:
    """It sees every event once and in order though the daemon is killed and stopped, fetches a result, and cancels."""
    client = start(own_daemon, own_daemon.token_file, held.file)
    job_id = client.until(lambda line: line.startswith("job ")).split()[1]
    client.until(lambda line: line.endswith(" entry_progress\n"))

    own_daemon.kill()
    held.let_go("1")
    held.wait_for_half()  # the job goes on, and makes history, while there is no daemon
    own_daemon.start()
    client.until(lambda line: line.endswith(" entry_progress\n"))
    own_daemon.stop()
    own_daemon.start()
    held.let_go("2")
    assert client.end() == 0, client.errors

    events = client.events(job_id)
    assert [sequence for sequence, _kind in events] == list(range(1, len(events) + 1))
    assert events == own_daemon.events(job_id)
    assert client.errors.count("asking again") >= 2
    assert client.of("state")[0] == [job_id, "SUCCEEDED"]

    kept = (own_daemon.folder / "state/jobs" / job_id / "artifacts/audio.wav").read_bytes()
    assert (tmp_path / "audio.wav").read_bytes() == kept
    assert client.of("artifact") == [["audio.wav", str(len(kept)), hashlib.sha256(kept).hexdigest()]]

    second, state = client.of("state")[1]
    assert state == "CANCELLED"
    assert client.events(second) == own_daemon.events(second)


def test_a_client_tells_the_reason_that_the_daemon_gives(
    start: Callable[..., Any], daemon: Any, tmp_path: Path
) -> None:
    """What the daemon refuses is not tried again; it ends the client with the daemon's own reason and sentence."""
    job = tmp_path / "job.yaml"
    job.write_text("name: incomplete\n")
    client = start(daemon, daemon.token_file, job)
    assert client.end() == 1
    assert "INVALID_JOB: the job file has" in client.errors
    assert "asking again" not in client.errors


def test_a_client_with_a_wrong_token_is_refused(
    start: Callable[..., Any], daemon: Any, held: Any, tmp_path: Path
) -> None:
    """A token that is not the daemon's is told as such."""
    token = tmp_path / "token"
    token.write_text("wrong")
    client = start(daemon, token, held.file)
    assert client.end() == 1
    assert "UNAUTHENTICATED: " in client.errors
