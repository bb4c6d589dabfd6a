"""Where everything stands on disk below a state directory."""

import os
from dataclasses import dataclass
from pathlib import Path


def default_state_directory() -> Path:
    """Give the folder that a daemon uses when it is told of none."""
    return Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local/state") / "jobd"


@dataclass(frozen=True, slots=True)
class StateDirectory:
    """The folder that holds all a daemon knows."""

    root: Path

    @property
    def lock(self) -> Path:
        """The file whose lock the serving daemon holds."""
        return self.root / "lock"

    @property
    def database(self) -> Path:
        """The store."""
        return self.root / "jobd.db"

    @property
    def audit(self) -> Path:
        """The audit log; older ones have a number at their end."""
        return self.root / "audit.jsonl"

    @property
    def nursery_log(self) -> Path:
        """What the process that forks runners has to say."""
        return self.root / "nursery.log"

    @property
    def recorder_log(self) -> Path:
        """What the process that compares Prefect's record has to say."""
        return self.root / "recorder.log"

    @property
    def token(self) -> Path:
        """The token for TCP clients."""
        return self.root / "token"

    @property
    def tokens(self) -> Path:
        """What is kept of the tokens that were made for clients."""
        return self.root / "tokens"

    @property
    def secrets(self) -> Path:
        """The operator's secrets, a file each, unless they are kept elsewhere."""
        return self.root / "secrets"

    @property
    def run(self) -> Path:
        """Sockets between the daemon and its runners."""
        return self.root / "run"

    @property
    def prefect(self) -> Path:
        """The embedded Prefect server's data."""
        return self.root / "prefect"

    @property
    def uploads(self) -> Path:
        """Files on their way in."""
        return self.root / "uploads"

    @property
    def jobs(self) -> Path:
        """A folder for each job."""
        return self.root / "jobs"

    def job(self, job_id: str) -> "JobDirectory":
        """Give the folder of a job."""
        return JobDirectory(self.jobs / job_id)

    def make(self) -> None:
        """Make the folders, closed to everybody else."""
        for folder in (self.root, self.run, self.prefect, self.uploads, self.jobs):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)


@dataclass(frozen=True, slots=True)
class JobDirectory:
    """The folder of one job."""

    root: Path

    @property
    def plan(self) -> Path:
        """The plan, as JSON."""
        return self.root / "plan.json"

    @property
    def assignment(self) -> Path:
        """What its next runner is to do, as JSON."""
        return self.root / "assignment.json"

    @property
    def journal(self) -> Path:
        """What its runner writes down."""
        return self.root / "journal"

    @property
    def runner_lock(self) -> Path:
        """The file whose lock its runner holds for life."""
        return self.root / "runner.lock"

    @property
    def runner_log(self) -> Path:
        """What the runner itself has to say."""
        return self.root / "runner.log"

    @property
    def artifacts(self) -> Path:
        """Whole artifacts, by name."""
        return self.root / "artifacts"

    @property
    def work(self) -> Path:
        """Scratch folders of attempts."""
        return self.root / "work"

    @property
    def logs(self) -> Path:
        """Logs by step and entry."""
        return self.root / "logs"

    def log(self, step: str, entry: str, attempt: int) -> Path:
        """Give the log of one attempt."""
        return self.root.joinpath("logs", step, entry, f"{attempt}.log")

    def scratch(self, step: str, entry: str, attempt: int) -> Path:
        """Give the scratch folder of one attempt."""
        return self.root.joinpath("work", step, entry, str(attempt))


def sync_directory(folder: Path) -> None:
    """Put the names in a folder on disk; OSError when that fails."""
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def write_durably(path: Path, data: bytes, mode: int = 0o600) -> None:
    """Put a whole new file in place: readers see the old one or the new one, also after a power cut."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW, mode)
    try:
        with os.fdopen(fd, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    sync_directory(path.parent)
