"""The toolchains of other languages, and the programs that they build."""

import contextlib
import fcntl
import hashlib
import os
import pwd
import queue
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
PATIENCE = 60.0
"""Seconds until something that must happen counts as not happening."""
GRPCURL = "1.9.4"


class Program:
    """A running client; its lines are read as they come."""

    def __init__(self, command: list[str], env: dict[str, str], errors: Path) -> None:
        self.lines: list[str] = []
        self._errors = errors
        self._queue: queue.Queue[str] = queue.Queue()
        with errors.open("wb") as file:
            self.process = subprocess.Popen(command, env=env, stdout=subprocess.PIPE, stderr=file, text=True)
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    @property
    def errors(self) -> str:
        """What it wrote to standard error."""
        return self._errors.read_text()

    def until(self, fits: Callable[[str], bool]) -> str:
        """Read on until a line fits, and give it."""
        while line := self._next():
            if fits(line):
                return line
        raise AssertionError(f"ended after {self.lines[-3:]}: {self.errors}")

    def end(self) -> int:
        """Read to the end; gives the exit code."""
        while self._next():
            pass
        return self.process.wait(20)

    def close(self) -> None:
        """End it, if it has not ended by itself."""
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait(10)
        self._reader.join(10)

    def events(self, job_id: str) -> list[tuple[int, str]]:
        """Give the events of a job that it told, as sequence and kind."""
        words = [line.split() for line in self.lines]
        return [(int(word[2]), word[3]) for word in words if word[:2] == ["event", job_id]]

    def of(self, kind: str) -> list[list[str]]:
        """Give the rest of the lines that begin with a word."""
        return [words[1:] for words in map(str.split, self.lines) if words[0] == kind]

    def _next(self) -> str:
        try:
            line = self._queue.get(timeout=PATIENCE)
        except queue.Empty:
            raise AssertionError(f"silent after {self.lines[-3:]}: {self.errors}") from None
        if line:
            self.lines.append(line.rstrip("\n"))
        return line

    def _read(self) -> None:
        assert self.process.stdout is not None
        with self.process.stdout as lines:
            for line in lines:
                self._queue.put(line)
        self._queue.put("")


class Workshop:
    """Builds the clients, each once for the same sources, in a folder that outlives the tests."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._home = Path(pwd.getpwuid(os.getuid()).pw_dir)

    def require(self, *tools: str) -> None:
        """Skip the test when a tool is missing; in CI, fail."""
        missing = [tool for tool in tools if shutil.which(tool) is None]
        if missing and os.environ.get("CI") == "true":
            pytest.fail(f"not on this machine: {', '.join(missing)}")
        if missing:
            pytest.skip(f"not on this machine: {', '.join(missing)}")

    def build(self, language: str, *commands: list[str]) -> Path:
        """Give the folder of a client, built by these commands unless it was built before from the same sources."""
        place = self._folder / "clients" / f"{language}-{_digest(_read_sources(language))}"
        with self._locked(language):
            if not (place / ".built").exists():
                self._clear(language, place)
                shutil.copytree(ROOT / "client" / language, place, ignore=shutil.ignore_patterns(*_MADE))
                for command in commands:
                    self._run(command, place)
                (place / ".built").touch()
        return place

    def grpcurl(self) -> Path:
        """Give the program, built from its module."""
        program = self._folder / "tools" / f"grpcurl-{GRPCURL}" / "grpcurl"
        with self._locked("grpcurl"):
            if not program.exists():
                source = f"github.com/fullstorydev/grpcurl/cmd/grpcurl@v{GRPCURL}"
                self._run(["go", "install", source], self._folder, GOBIN=str(program.parent))
        return program

    @property
    def protos(self) -> Path:
        """Where the .proto files are."""
        return ROOT / "protos"

    @property
    def maven_repository(self) -> Path:
        """Where Maven keeps what it fetched."""
        return self._folder / "maven"

    def _clear(self, language: str, place: Path) -> None:
        """Remove what a broken build left, and what was built from sources of long ago."""
        for old in place.parent.glob(f"{language}-*"):
            if old == place or time.time() - old.stat().st_mtime > _WEEK:
                shutil.rmtree(old)

    def _run(self, command: list[str], place: Path, **more: str) -> None:
        # The tests' home is empty; how this machine reaches its registries stands in its user's.
        env = dict(os.environ) | {
            "GOENV": os.environ.get("GOENV", str(self._home / ".config/go/env")),
            "GOMODCACHE": str(self._folder / "go-modules"),
            "GOCACHE": str(self._folder / "go-build"),
            "GOFLAGS": f"{os.environ.get('GOFLAGS', '')} -modcacherw".strip(),
            "NPM_CONFIG_USERCONFIG": os.environ.get("NPM_CONFIG_USERCONFIG", str(self._home / ".npmrc")),
            "NPM_CONFIG_CACHE": str(self._folder / "npm"),
            "PROTOS": str(ROOT / "protos"),
            "PROTOC": f"{sys.executable} -m grpc_tools.protoc",
        }
        done = subprocess.run(
            command, cwd=place, env=env | more, capture_output=True, text=True, timeout=600, check=False
        )
        assert done.returncode == 0, f"{' '.join(command)}: {done.stdout[-4000:]}{done.stderr[-4000:]}"

    @contextlib.contextmanager
    def _locked(self, what: str) -> Iterator[None]:
        with (self._folder / f"{what}.lock").open("w") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield


_MADE = {"node_modules", "dist", "generated", "target", "bin", "jobapi"}
"""Folders that a build in the tree may have made."""
_WEEK = 7 * 24 * 3600.0


def _read_sources(language: str) -> dict[str, bytes]:
    """Give what a client is built from, by path."""
    client, protos = ROOT / "client" / language, ROOT / "protos"
    files = [path for path in client.rglob("*") if not _MADE.intersection(path.relative_to(client).parts)]
    files += protos.rglob("*.proto")
    return {str(path.relative_to(ROOT)): path.read_bytes() for path in sorted(files) if path.is_file()}


def _digest(sources: dict[str, bytes]) -> str:
    digest = hashlib.sha256()
    for name, content in sources.items():
        digest.update(f"{name}\0{len(content)}\0".encode() + content)
    return digest.hexdigest()[:16]


@pytest.fixture(scope="session")
def workshop() -> Workshop:
    """What builds the clients."""
    folder = Path(pwd.getpwuid(os.getuid()).pw_dir) / ".cache/jobd-tests"
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError:
        folder = Path(tempfile.gettempdir()) / f"jobd-tests-{os.getuid()}"
        folder.mkdir(mode=0o700, exist_ok=True)
    return Workshop(folder)


@pytest.fixture
def run(tmp_path: Path) -> Iterator[Callable[..., Program]]:
    """How to start a client; ended at teardown."""
    with contextlib.ExitStack() as stack:

        def start(*command: object) -> Program:
            program = Program(
                [str(word) for word in command],
                dict(os.environ) | {"PROTOS": str(ROOT / "protos")},
                tmp_path / "errors",
            )
            stack.callback(program.close)
            return program

        yield start
