"""The parsed command line. Light on purpose: `jobctl --help` imports this and little else."""

import argparse

from jobctl.output_format import OutputFormat


class Arguments(argparse.Namespace):
    """Every option of every command, with its default."""

    command: str = ""
    """The function to run, as `module:function`."""
    address: str | None = None
    """Where the daemon is."""
    token_file: str | None = None
    """Where its token is."""
    context: str | None = None
    """Which of the user's contexts it is."""
    tls_ca: str | None = None
    """The certificate of the authority that the daemon's must come from."""
    tls_cert: str | None = None
    """The certificate of the user."""
    tls_key: str | None = None
    """Its key."""
    no_color: bool = False
    """Whether colours are left out."""
    output: str = "text"
    """One of `OutputFormat`."""
    id: str = ""
    """A job."""
    ids: list[str]
    """Jobs."""
    file: str = ""
    """A job file; `-` for standard input."""
    files: list[str]
    """Job files; `-` for standard input. Empty where a command takes none."""
    input: list[str]
    """`PARAM=PATH`, each."""
    label: list[str]
    """`KEY=VALUE`, each; where jobs are chosen, `KEY` as well."""
    priority: int | None = None
    """Overrides the job file's."""
    request_id: str = ""
    """Makes a repeated submit or retry answer with the first job; empty for a random one."""
    watch: bool = False
    """Whether to show the job until it ends, or the list until Ctrl-C."""
    wait: bool = False
    """Whether to wait silently until it ends."""
    dry_run: bool = False
    """Whether to store nothing."""
    upload: bool = False
    """Whether inputs are sent even to a daemon on this machine."""
    timeout: float | None = None
    """How many seconds to watch or wait at most."""
    after: int = 0
    """The last event seen."""
    reason: str = ""
    """Why a job is cancelled."""
    state: list[str]
    """States of jobs, in capitals."""
    name: str = ""
    """A name of jobs, or of a module."""
    owner: str = ""
    """Who submitted jobs."""
    since: str = ""
    """The time from which on jobs were submitted."""
    until: str = ""
    """The time before which jobs were submitted."""
    all: bool = False
    """Whether all jobs are watched."""
    after_cursor: int | None = None
    """The last cursor of a watch of all jobs; None for now."""
    all_attempts: bool = False
    """Whether the logs of earlier attempts are printed, too."""
    limit: int = 50
    """How many jobs to list."""
    entry: str = ""
    """`STEP` or `STEP/ENTRY`."""
    follow: bool = False
    """Whether to go on until the entries have ended."""
    tail: int | None = None
    """How many of the last lines to begin with; None for all."""
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

    def __init__(self) -> None:
        """Begin with empty lists, which must not be shared."""
        super().__init__(ids=[], files=[], input=[], label=[], state=[], names=[])

    @property
    def json(self) -> bool:
        """Whether scripts read the output."""
        return self.output == OutputFormat.JSON
