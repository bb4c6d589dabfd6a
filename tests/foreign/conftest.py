"""A daemon that can be restarted, and a job whose course a test decides."""

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
BIN = Path(sys.executable).parent
PATIENCE = 60.0
"""Seconds until something that must happen counts as not happening."""


def wait_until(condition: Callable[[], Any], what: str) -> Any:
    """Ask until the answer is true, and give it."""
    deadline = time.monotonic() + PATIENCE
    while not (answer := condition()):
        assert time.monotonic() < deadline, f"not in {PATIENCE:g} s: {what}"
        time.sleep(0.05)
    return answer


def free_port() -> int:
    """Find a port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@dataclass
class Daemon:
    """A `jobd serve` on a TCP port, without Prefect, so that only the interface is in play."""

    folder: Path
    port: int = field(default_factory=free_port)
    process: subprocess.Popen[bytes] = field(init=False)

    @property
    def address(self) -> str:
        """Where it listens."""
        return f"127.0.0.1:{self.port}"

    @property
    def token_file(self) -> Path:
        """What a client over TCP has to have."""
        return self.folder / "state/token"

    @property
    def env(self) -> dict[str, str]:
        """An environment with a home of its own: a daemon leaves its address there."""
        own = {"HOME": str(self.folder), "JOBCTL_ADDRESS": self.address, "JOBCTL_TOKEN_FILE": str(self.token_file)}
        return dict(os.environ) | own

    def start(self) -> None:
        """Start it, and wait until its port answers."""
        places = (ROOT / "modules", Path(__file__).parent / "modules")
        command = [str(BIN / "jobd"), "serve", f"--state-dir={self.folder / 'state'}", f"--listen={self.address}"]
        command += [f"--modules={place}" for place in places]
        command += [f"--allow-root={self.folder.parent}"]  # where the tests' own files are, for paths over TCP
        command += ["--prefect-api-url=http://127.0.0.1:1/api", "--prefect-grace=0", "--capacity=cpus=2"]
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(command, env=self.env, stdout=log, stderr=log, cwd=self.folder)
        wait_until(self._answers, "the daemon's port is up")

    def kill(self) -> None:
        """End it as a power cut would."""
        self.process.kill()
        self.process.wait(10)

    def stop(self) -> None:
        """Ask it to end."""
        self.process.send_signal(signal.SIGTERM)
        assert self.process.wait(30) == 0, (self.folder / "log").read_text()

    def close(self) -> None:
        """End it and its jobs."""
        try:
            if self.process.poll() is not None:
                self.start()
            for job in json.loads(self.jobctl("list", "--limit=0", "-o", "json"))["jobs"]:
                if job["state"] in {"JOB_STATE_QUEUED", "JOB_STATE_RUNNING", "JOB_STATE_CANCELLING"}:
                    self.jobctl("cancel", job["id"])
                    self.jobctl("watch", job["id"], "--timeout=30", codes=(0, 1, 3))
        finally:
            self.stop()

    def jobctl(self, *arguments: object, codes: tuple[int, ...] = (0,)) -> str:
        """Run a command; gives what it printed."""
        command = [str(BIN / "jobctl"), *map(str, arguments)]
        done = subprocess.run(command, env=self.env, capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode in codes, done.stderr
        return done.stdout

    def events(self, job_id: str) -> list[tuple[int, str]]:
        """Give every event of an ended job, as sequence and kind."""
        lines = self.jobctl("watch", job_id, "-o", "json", codes=(0, 1, 3)).splitlines()
        return [(event["sequence"], event["type"]) for event in map(json.loads, lines)]

    def _answers(self) -> bool:
        assert self.process.poll() is None, (self.folder / "log").read_text()
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0


@dataclass
class Held:
    """A job that takes the sound out of a video, then holds twice until it is let go."""

    folder: Path

    def __post_init__(self) -> None:
        for gate in ("1", "2"):
            os.mkfifo(self.folder / gate)

    @property
    def file(self) -> Path:
        """Its job file."""
        sound = {"name": "audio.wav", "type": "audio"}
        steps = [
            {
                "module": "example_module",
                "input_artifacts": [{"name": "video.mp4", "param_name": "input", "type": "video"}],
                "output_artifacts": [sound | {"param_name": "output", "public": True}],
            },
            {
                "module": "hold",
                "params": {"gates": str(self.folder)},
                "input_artifacts": [sound | {"param_name": "source"}],
                "output_artifacts": [{"name": "held.wav", "param_name": "target", "type": "audio"}],
            },
        ]
        path = self.folder / "held.yaml"
        job = {
            "name": "held",
            "input_artifacts": [{"param_name": "input", "type": "video"}],
            "steps": [{"name": f"step{number}", "entries": [entry]} for number, entry in enumerate(steps, 1)],
        }
        path.write_text(json.dumps(job))  # JSON is YAML
        return path

    def let_go(self, gate: str) -> None:
        """Let it go on from a gate, once it is there."""
        wait_until(lambda: self._opened(gate), f"the job is at gate {gate}")

    def wait_for_half(self) -> None:
        """Wait until it has passed the first gate."""
        wait_until((self.folder / "half").exists, "the job has passed the first gate")

    def _opened(self, gate: str) -> bool:
        try:
            os.close(os.open(self.folder / gate, os.O_WRONLY | os.O_NONBLOCK))
        except OSError:  # nobody reads there yet
            return False
        return True


@pytest.fixture(scope="session")
def daemon(tmp_path_factory: pytest.TempPathFactory, process_guard: object) -> Iterator[Daemon]:
    """The daemon of most tests."""
    with _serving(tmp_path_factory.mktemp("d")) as daemon:
        # What it starts by and by must not look as if a test had left it behind.
        wait_until(lambda: "nursery_ready" in (daemon.folder / "log").read_text(), "the nursery is ready")
        yield daemon


@pytest.fixture
def own_daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    """A daemon that a test may kill."""
    with _serving(tmp_path_factory.mktemp("o")) as daemon:
        yield daemon


@pytest.fixture
def held(tmp_path: Path) -> Held:
    """A job that a test lets go on."""
    folder = tmp_path / "held"
    folder.mkdir()
    return Held(folder)


@pytest.fixture(scope="session")
def sample(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A video of some seconds, with sound."""
    path = tmp_path_factory.mktemp("v") / "sample.mp4"
    subprocess.run([sys.executable, ROOT / "tools/make_sample.py", path], check=True, capture_output=True, timeout=120)
    return path


@contextlib.contextmanager
def _serving(folder: Path) -> Iterator[Daemon]:
    daemon = Daemon(folder)
    daemon.start()
    try:
        yield daemon
    finally:
        daemon.close()
