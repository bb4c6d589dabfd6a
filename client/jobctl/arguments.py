"""The parsed command line. Light on purpose: `jobctl --help` imports this and little else."""

import argparse


class Arguments(argparse.Namespace):
    """Every option of every command, with its default."""

    command: str = ""
    """The function to run, as `module:function`."""
    address: str | None = None
    """Where the daemon is."""
    token_file: str | None = None
    """Where its token is."""
    no_color: bool = False
    """Whether colours are left out."""
    output: str = "text"
    """`text` or `json`."""
    id: str = ""
    """A job."""
    file: str = ""
    """A job file; `-` for standard input."""
    input: list[str]
    """`PARAM=PATH`, each."""
    label: list[str]
    """`KEY=VALUE`, each."""
    priority: int | None = None
    """Overrides the job file's."""
    request_id: str = ""
    """Makes a repeated submit answer with the first job; empty for a random one."""
    watch: bool = False
    """Whether to show the job until it ends."""
    wait: bool = False
    """Whether to wait silently until it ends."""
    dry_run: bool = False
    """Whether to store nothing."""
    upload: bool = False
    """Whether inputs are sent even to a daemon on this machine."""
    timeout: float | None = None
    """How many seconds to watch at most."""
    after: int = 0
    """The last event seen."""
    reason: str = ""
    """Why a job is cancelled."""
    state: list[str]
    """States of jobs, in capitals."""
    name: str = ""
    """A name of jobs, or of a module."""
    limit: int = 50
    """How many jobs to list."""
    entry: str = ""
    """`STEP` or `STEP/ENTRY`."""
    follow: bool = False
    """Whether to go on until the entries have ended."""
    attempt: int = 0
    """An attempt, from 1; 0 for the latest."""
    names: list[str]
    """Artifacts."""
    to: str = "."
    """The folder to write to."""
    force: bool = False
    """Whether existing files are replaced."""
    print_only: bool = False
    """Whether no browser is opened."""

    @property
    def json(self) -> bool:
        """Whether scripts read the output."""
        return self.output == "json"
