"""The demo's daemon: its state directory, socket and Prefect server are its own, below `demo-out/`."""

import fcntl
import json
import os
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from jobd.layout import StateDirectory
from jobd.runner import is_locked

REPOSITORY = Path(__file__).resolve().parent.parent
BIN = Path(sys.executable).parent
OUT = REPOSITORY / "demo-out"
STATE = StateDirectory(OUT / "state")
LOG = OUT / "jobd.log"
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
"""What asks for the demo's end."""

_ASK_SECONDS, _START_SECONDS, _STOP_SECONDS, _DRAIN_SECONDS = 30.0, 60.0, 40.0, 30.0
_LOOK_SECONDS = 0.05
_SOCKET_BYTES = 107
"""The path of a unix socket can have no more."""


class DemoError(Exception):
    """Why the demo cannot go on, as a person is told it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Daemon:
    """A running daemon of the demo."""

    pid: int
    address: str
    process: subprocess.Popen[bytes] | None
    """None when it was found running, and is not this demo's to stop."""

    def command(self, *words: str | Path) -> list[str]:
        """Give the command line of jobctl for this daemon."""
        return [str(BIN / "jobctl"), "--address", self.address, *map(str, words)]

    def ask(self, *words: str | Path, codes: tuple[int, ...] = (0,)) -> str:
        """Run jobctl, out of reach of the terminal's signals, give what it printed; DemoError for other exit codes."""
        command = self.command(*words)
        try:
            done = subprocess.run(
                command, capture_output=True, text=True, start_new_session=True, timeout=_ASK_SECONDS, check=False
            )
        except subprocess.TimeoutExpired as error:
            raise DemoError(f"`jobctl {words[0]}` did not end within {_ASK_SECONDS:g} s; see {LOG}") from error
        if done.returncode not in codes:
            raise DemoError(f"`jobctl {words[0]}` ended with {done.returncode}: {done.stderr.strip()}; see {LOG}")
        return done.stdout

    def cancel(self, job_id: str) -> None:
        """Cancel a job, and wait until nothing of it runs."""
        self.ask("cancel", job_id, "--reason", "the demo was stopped")
        self.ask("watch", job_id, codes=(0, 1, 3))

    def stop(self) -> None:
        """End what is left of its jobs, its Prefect server and itself; everything in it has a bound."""
        try:
            live = [f"--state={state}" for state in ("QUEUED", "RUNNING", "CANCELLING")]
            for job in json.loads(self.ask("list", *live, "-o", "json")).get("jobs", ()):
                self.cancel(job["id"])
            _await_runners()
        finally:
            self.end()

    def end(self) -> None:
        """Send SIGTERM and wait; after the grace, SIGKILL, with which the kernel ends its Prefect server as well."""
        if self.process is None:
            return
        self.process.terminate()
        try:
            self.process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        shutil.rmtree(_runtime_folder(), ignore_errors=True)
        folder = Path(self.address.removeprefix("unix:")).parent
        if folder != OUT:
            shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def alone() -> Iterator[None]:
    """Keep other demos out of `demo-out/`; DemoError when one runs."""
    OUT.mkdir(exist_ok=True)
    with (OUT / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise DemoError(f"another demo runs in {OUT}; wait for its end") from None
        yield


@contextmanager
def running_daemon(*, keep: bool = False) -> Iterator[Daemon]:
    """Give the daemon that an earlier demo kept, or start one, which is stopped at the end unless it is to be kept."""
    daemon = _find() or start()
    done = False
    try:
        yield daemon
        done = True
    finally:
        if daemon.process is not None and not (done and keep):
            for number in SIGNALS:
                signal.signal(number, signal.SIG_IGN)  # stopping twice does not make it quicker
            daemon.stop()


def _find() -> Daemon | None:
    if not is_locked(STATE.lock):
        return None
    try:
        access = json.loads((STATE.root / "access.json").read_text())
    except (OSError, ValueError) as error:
        raise DemoError(f"a daemon on {STATE.root} is starting or stopping; try again in a few seconds") from error
    return Daemon(pid=access["pid"], address=access["addresses"][0], process=None)


def start() -> Daemon:
    """Start a daemon on a fresh state directory and wait until it answers; DemoError when it does not."""
    if not any(map(is_locked, STATE.jobs.glob("*/runner.lock"))):
        # A job that outlived its daemon still writes there: this one takes it back, and ends it in the end.
        shutil.rmtree(STATE.root, ignore_errors=True)
    address = f"unix:{_choose_socket()}"
    options = ("--state-dir", STATE.root, "--modules", REPOSITORY / "modules", "--listen", address)
    with LOG.open("wb") as log:
        process = subprocess.Popen(
            [BIN / "jobd", "serve", *options, "--prefect-port", "0", "--log-format", "console"],
            env=_environment(),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    daemon = Daemon(pid=process.pid, address=address, process=process)
    try:
        _await_start(process)
    except BaseException:
        daemon.end()
        raise
    return daemon


def _await_start(process: subprocess.Popen[bytes]) -> None:
    access, deadline = STATE.root / "access.json", time.monotonic() + _START_SECONDS
    while not (access.exists() and json.loads(access.read_text())["pid"] == process.pid):
        if process.poll() is not None:
            raise DemoError(f"jobd ended with {process.returncode}:\n{LOG.read_text(errors='replace').strip()}")
        if time.monotonic() > deadline:
            raise DemoError(f"jobd did not start within {_START_SECONDS:g} s; its log is {LOG}")
        time.sleep(_LOOK_SECONDS)


def _await_runners() -> None:
    """Wait until every runner has told Prefect the rest and is gone, so that its page is whole and nothing is left."""
    deadline = time.monotonic() + _DRAIN_SECONDS
    for lock in STATE.jobs.glob("*/runner.lock"):
        try:
            runner = os.pidfd_open(int(lock.read_text().split()[0]))
        except (ProcessLookupError, IndexError):
            continue
        ended, _, _ = select.select([runner], [], [], max(0.0, deadline - time.monotonic()))
        if not ended:
            signal.pidfd_send_signal(runner, signal.SIGKILL)
        os.close(runner)


def _choose_socket() -> Path:
    path = OUT / "jobd.sock"
    return path if len(os.fsencode(path)) <= _SOCKET_BYTES else Path(tempfile.mkdtemp(prefix="jobd-demo-"), "jobd.sock")


def _runtime_folder() -> Path:
    return OUT / "run"


def _environment() -> dict[str, str]:
    """Give the environment without what is meant for another daemon, and with every file of this one in its place."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("JOBD_", "JOBCTL_", "PREFECT_"))}
    return kept | {"XDG_RUNTIME_DIR": str(_runtime_folder()), "XDG_CONFIG_HOME": str(_runtime_folder())}
