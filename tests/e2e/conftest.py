"""jobd and jobctl as programs, the way a user has them."""

import contextlib
import json
import os
import queue
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest

ROOT = Path(__file__).parents[2]
BIN = Path(sys.executable).parent
PATIENCE = 60.0
"""Seconds until something that must happen counts as not happening."""


def wait_until(condition: Callable[[], Any], what: str, seconds: float = PATIENCE) -> Any:
    """Ask until the answer is true, and give it."""
    deadline = time.monotonic() + seconds
    while not (answer := condition()):
        assert time.monotonic() < deadline, f"not in {seconds:g} s: {what}"
        time.sleep(0.05)
    return answer


def free_port() -> int:
    """Find a port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@dataclass(frozen=True, slots=True, kw_only=True)
class Done:
    """A program that has ended."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """What it printed, as JSON."""
        return json.loads(self.out)


class Watch:
    """A running `jobctl watch ID -o json`."""

    def __init__(self, command: list[str], env: dict[str, str]) -> None:
        self.seen: list[dict[str, Any]] = []
        self.process = subprocess.Popen(command, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        self._lines: queue.Queue[str] = queue.Queue()
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def until(self, kind: str, seconds: float = PATIENCE, **expected: Any) -> dict[str, Any]:
        """Read on until an event of this kind with these fields comes, and give it."""
        deadline = time.monotonic() + seconds
        while line := self._next(deadline - time.monotonic(), kind):
            event: dict[str, Any] = json.loads(line)
            self.seen.append(event)
            if event["type"] == kind and expected.items() <= event[kind].items():
                return event
        raise AssertionError(f"the watch ended without {kind} {expected}: {self.process.communicate()[1]}")

    def end(self, seconds: float = PATIENCE) -> int:
        """Read to the end of the job; gives the exit code."""
        deadline = time.monotonic() + seconds
        while line := self._next(deadline - time.monotonic(), "the end"):
            self.seen.append(json.loads(line))
        return self.process.wait(10)

    def of(self, kind: str) -> list[dict[str, Any]]:
        """Give what the events of a kind tell, of those read so far."""
        return [event[kind] for event in self.seen if event["type"] == kind]

    def close(self) -> None:
        """End the program, if it has not ended by itself."""
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait(10)
        self._reader.join(10)
        self.process.communicate()

    def _next(self, seconds: float, what: str) -> str:
        try:
            return self._lines.get(timeout=max(0.0, seconds))
        except queue.Empty:
            raise AssertionError(f"the watch waits in vain for {what}; it saw {self.seen[-3:]}") from None

    def _read(self) -> None:
        assert self.process.stdout is not None
        with self.process.stdout as lines:
            for line in lines:
                self._lines.put(line)
        self._lines.put("")


@dataclass
class Daemon:
    """A `jobd serve` in a folder of its own, and the jobctl that talks to it."""

    folder: Path
    options: tuple[str, ...] = ()
    env: dict[str, str] = field(default_factory=dict)
    tcp_port: int = field(default_factory=free_port)
    program: list[str] = field(default_factory=lambda: [str(BIN / "jobd")])
    process: subprocess.Popen[bytes] = field(init=False)
    watches: list[Watch] = field(default_factory=list)

    def __post_init__(self) -> None:
        # A home of its own: a daemon leaves its address there, for the clients of one user.
        self.env = dict(os.environ) | {"HOME": str(self.folder)} | self.env

    @property
    def state(self) -> Path:
        """Its state directory."""
        return self.folder / "state"

    @property
    def socket(self) -> Path:
        """Where it listens."""
        return self.folder / "s"

    @property
    def modules(self) -> Path:
        """A module folder that begins empty."""
        return self.folder / "modules"

    @property
    def log(self) -> str:
        """What it has logged."""
        return (self.folder / "log").read_text()

    @property
    def command(self) -> list[str]:
        """How it is started."""
        modules = [f"--modules={path}" for path in (ROOT / "modules", Path(__file__).parent / "modules", self.modules)]
        places = [f"--state-dir={self.state}", f"--listen=unix:{self.socket}", f"--listen=127.0.0.1:{self.tcp_port}"]
        return [*self.program, "serve", *modules, *places, "--capacity=cpus=2", *self.options]

    def start(self) -> None:
        """Start it, and wait until its socket is up."""
        self.modules.mkdir(exist_ok=True)
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(self.command, env=self.env, stdout=log, stderr=log, cwd=self.folder)
        wait_until(self._answers, "the daemon's socket is up")

    def wait_for_prefect(self) -> None:
        """Wait until its Prefect server answers."""
        wait_until(lambda: self.jobctl("ping", "-o", "json").json["prefect_status"] == "ready", "Prefect is ready")

    def stop(self) -> int:
        """Ask it to end; gives its exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(30)

    def kill(self) -> None:
        """End it as a power cut would."""
        self.process.kill()
        self.process.wait(10)

    def close(self) -> None:
        """End everything: its jobs, its watchers and the daemon itself."""
        try:
            self._end_jobs()
        finally:
            for watch in self.watches:
                watch.close()
            code = self.stop()
        assert code == 0, self.log

    def jobctl(self, *arguments: object, stdin: str | None = None, **env: str) -> Done:
        """Run a command to its end."""
        command = [str(BIN / "jobctl"), *map(str, arguments)]
        own = self.env | {"JOBCTL_ADDRESS": f"unix:{self.socket}"} | env
        done = subprocess.run(command, env=own, input=stdin, capture_output=True, text=True, timeout=180, check=False)
        return Done(code=done.returncode, out=done.stdout, err=done.stderr)

    def submit(self, file: Path, *arguments: object) -> str:
        """Submit a job that must be accepted; gives its id."""
        done = self.jobctl("submit", file, *arguments)
        assert done.code == 0, done.err
        return done.out.strip()

    def get(self, job_id: str) -> Any:
        """Everything known of a job."""
        return self.jobctl("get", job_id, "-o", "json").json

    def watch(self, job_id: str, *arguments: str) -> Watch:
        """Watch a job; ended at teardown."""
        command = [str(BIN / "jobctl"), f"--address=unix:{self.socket}", "watch", job_id, "-o", "json", *arguments]
        self.watches.append(Watch(command, self.env))
        return self.watches[-1]

    def wait_cleared(self, job_id: str) -> None:
        """Wait until a job's runner has ended and nothing is left where its entries worked."""
        work = self.state / "jobs" / job_id / "work"
        wait_until(lambda: not list(work.glob("**/*")), f"the working folder of {job_id} is cleared")

    def runs(self, job_id: str) -> list[Any]:
        """Prefect's flow runs of a job, each with its task runs under `tasks`."""
        flows: list[Any] = self.prefect("/flow_runs/filter", flow_runs={"tags": {"all_": ["jobd", f"job:{job_id}"]}})
        for run in flows:
            run["tasks"] = self.prefect("/task_runs/filter", flow_runs={"id": {"any_": [run["id"]]}})
        return flows

    def final_run(self, job_id: str, *, tasks: int, seconds: float = 10.0) -> Any:
        """The one flow run of a job, at most `seconds` from now, once it has so many task runs and all is final."""
        final = {"COMPLETED", "FAILED", "CANCELLED", "CRASHED"}

        def look() -> Any:
            runs = self.runs(job_id)
            states = [item["state_type"] for run in runs for item in (run, *run["tasks"])]
            return runs[0] if len(runs) == 1 and len(states) == 1 + tasks and final.issuperset(states) else None

        return wait_until(look, f"Prefect shows one flow run of {job_id} and {tasks} task runs, all final", seconds)

    def prefect(self, path: str, **content: Any) -> Any:
        """Ask Prefect's API."""
        user, _, password = self.prefect_auth.partition(":")
        url = f"{self.dashboard}/api{path}"
        answer = httpx.post(url, json=content, auth=(user, password), timeout=PATIENCE, trust_env=False)
        return answer.raise_for_status().json()

    @property
    def prefect_auth(self) -> str:
        """`user:password` of Prefect's server, its own or the one that it was told to use."""
        told = self.env.get("PREFECT_API_AUTH_STRING")
        return told or (self.state / "prefect/auth").read_text().strip()

    @property
    def dashboard(self) -> str:
        """Where Prefect is."""
        return str(self.jobctl("ping", "-o", "json").json["dashboard_url"])

    def _end_jobs(self) -> None:
        if self.process.poll() is not None:
            self.start()
        for job in self.jobctl("list", "--limit=0", "-o", "json").json["jobs"]:
            if job["state"] in {"JOB_STATE_QUEUED", "JOB_STATE_RUNNING", "JOB_STATE_CANCELLING"}:
                self.jobctl("cancel", job["id"])
                self.jobctl("watch", job["id"])

    def _answers(self) -> bool:
        assert self.process.poll() is None, self.log
        with socket.socket(socket.AF_UNIX) as probe, contextlib.suppress(OSError):
            probe.connect(str(self.socket))
            return True
        return False


@dataclass(frozen=True, slots=True)
class JobFiles:
    """Writes job files. JSON is YAML."""

    folder: Path

    def write(self, *steps: list[dict[str, Any]], name: str = "a_job", **keys: Any) -> Path:
        """Write a job whose steps are called step1, step2 …"""
        named = [{"name": f"step{number}", "entries": entries} for number, entries in enumerate(steps, 1)]
        path = self.folder / f"{name}-{len(list(self.folder.iterdir()))}.yaml"
        path.write_text(json.dumps({"name": name, "steps": named, **keys}))
        return path

    @staticmethod
    def act(makes: str, *uses: str, public: bool = False, **keys: Any) -> dict[str, Any]:
        """Give an entry of the module `act`; what is no key of an entry is a param of the module."""
        own: dict[str, Any] = {key: keys.pop(key) for key in ("name", "retries", "timeout", "resources") if key in keys}
        inputs = [{"name": name, "param_name": "input", "type": "data"} for name in uses]
        outputs = [{"name": makes, "param_name": "output", "type": "data", "public": public}]
        params = {key: str(value) if isinstance(value, Path) else value for key, value in keys.items()}
        return {"module": "act", "input_artifacts": inputs, "output_artifacts": outputs, "params": params, **own}


@pytest.fixture
def jobs(tmp_path: Path) -> JobFiles:
    """How to write job files."""
    folder = tmp_path / "jobs"
    folder.mkdir()
    return JobFiles(folder)


@pytest.fixture(scope="session")
def until() -> Callable[..., Any]:
    """How to wait for what no event tells."""
    return wait_until


@pytest.fixture(scope="session")
def living() -> Callable[[str], list[int]]:
    """How to find what lives of a job's modules: every process that inherited their environment."""

    def find(job_id: str) -> list[int]:
        mark = f"JOBD_JOB_ID={job_id}\0".encode()
        found = []
        for folder in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                if mark in (folder / "environ").read_bytes():
                    found.append(int(folder.name))
        return found

    return find


@pytest.fixture(scope="session")
def sample(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A video of some seconds, with sound."""
    path = tmp_path_factory.mktemp("v") / "sample.mp4"
    subprocess.run([sys.executable, ROOT / "tools/make_sample.py", path], check=True, capture_output=True, timeout=120)
    return path


@pytest.fixture(scope="session")
def daemon(tmp_path_factory: pytest.TempPathFactory, process_guard: object) -> Iterator[Daemon]:
    """The daemon of most tests, with a Prefect server of its own that is ready."""
    with _serving(Daemon(tmp_path_factory.mktemp("d"), ("--prefect-port=0",))) as daemon:
        daemon.wait_for_prefect()
        yield daemon


@pytest.fixture
def serve(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., Daemon]]:
    """How to start a daemon with options of one's own; ended at teardown."""
    with contextlib.ExitStack() as stack:

        def start(*options: str, **env: str) -> Daemon:
            return stack.enter_context(_serving(Daemon(tmp_path_factory.mktemp("o"), options, env)))

        yield start


@pytest.fixture
def own_daemon(daemon: Daemon, serve: Callable[..., Daemon]) -> Daemon:
    """A daemon that a test may kill; it uses the other one's Prefect server."""
    return serve(f"--prefect-api-url={daemon.dashboard}/api", PREFECT_API_AUTH_STRING=daemon.prefect_auth)


@pytest.fixture
def lone_daemon(serve: Callable[..., Daemon]) -> Daemon:
    """A daemon that has just been started and has a Prefect server of its own, which is not ready yet."""
    return serve("--prefect-port=0")


@contextlib.contextmanager
def _serving(daemon: Daemon) -> Iterator[Daemon]:
    daemon.start()
    try:
        yield daemon
    finally:
        daemon.close()
