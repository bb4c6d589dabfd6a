"""The grammar of the command line."""

import argparse
import math
from collections.abc import Sequence
from typing import TypeAlias

from jobctl import __version__
from jobctl.arguments import Arguments
from jobctl.output_format import PLAIN, RICH, OutputFormat

_ID = "the job: its id, an unambiguous beginning of it, or @latest"
_STATES = ("QUEUED", "RUNNING", "CANCELLING", "SUCCEEDED", "FAILED", "CANCELLED")
_EPILOG = """\
exit codes:
  0 succeeded   1 job failed, or another error   2 usage   3 job cancelled   4 not allowed   5 daemon unreachable
  6 not found   7 job file or input invalid   124 --timeout reached   130 interrupted (the job goes on)

environment:
  JOBCTL_ADDRESS, JOBCTL_TOKEN, JOBCTL_TOKEN_FILE, NO_COLOR

jobctl COMMAND --help tells more about a command."""

_Commands: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"  # noqa: SLF001 - it has no public name


def parse(argv: list[str] | None = None) -> Arguments:
    """Read the command line; leave with exit code 2 when it is not valid, with 0 after --help and --version."""
    return make_parser().parse_args(argv, namespace=Arguments())


def make_parser() -> argparse.ArgumentParser:
    """Make the parser of all commands."""
    common = _make_common()
    parser = argparse.ArgumentParser(
        prog="jobctl",
        description="Submit, watch and fetch the jobs of a jobd daemon.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        parents=[common],
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"jobctl {__version__}")
    commands = parser.add_subparsers(metavar="COMMAND", required=True, title="commands")
    for add in (_add_submit, _add_watch, _add_wait, _add_cancel, _add_retry, _add_delete, _add_get, _add_list):
        add(commands, common)
    for add in (_add_explain, _add_logs, _add_download, _add_modules, _add_validate, _add_open, _add_ping):
        add(commands, common)
    return parser


def _make_common() -> argparse.ArgumentParser:
    # These stand before or after the command: no defaults here, or the second place would undo the first.
    common = argparse.ArgumentParser(add_help=False, allow_abbrev=False, argument_default=argparse.SUPPRESS)
    common.add_argument(
        "--address", metavar="ADDR", help="unix:PATH or HOST:PORT (JOBCTL_ADDRESS; default: found by itself)"
    )
    common.add_argument(
        "--token-file", metavar="FILE", help="holds the token for a TCP address (JOBCTL_TOKEN_FILE; JOBCTL_TOKEN)"
    )
    common.add_argument("--no-color", action="store_true", help="leave colours out (NO_COLOR)")
    return common


def _add(
    commands: _Commands,
    common: argparse.ArgumentParser,
    name: str,
    function: str,
    text: str,
    *,
    outputs: Sequence[OutputFormat] = (),
) -> argparse.ArgumentParser:
    parser = commands.add_parser(name, help=text, description=text, parents=[common], allow_abbrev=False)
    parser.set_defaults(command=function)
    if outputs:
        # As text: an enumeration would show its own spelling in the messages.
        names = [str(output) for output in outputs]
        about = f"{', '.join(names)} ({names[0]})"
        parser.add_argument("-o", "--output", metavar="FORMAT", choices=names, default=names[0], help=about)
    return parser


def _add_submit(commands: _Commands, common: argparse.ArgumentParser) -> None:
    text = "submit jobs; prints the id of each, alone, on standard output"
    parser = _add(commands, common, "submit", "submit_command:submit", text, outputs=PLAIN)
    parser.add_argument("files", metavar="JOB.yaml", nargs="+", help="a job file; - for standard input")
    parser.add_argument(
        "--input", metavar="PARAM=PATH", action="append", default=[], help="an input file or folder; may be repeated"
    )
    follow = _add_following(parser)
    follow.add_argument("--dry-run", action="store_true", help="show what would run; store nothing")
    parser.add_argument("--request-id", metavar="ID", default="", help="a repeated submit with this gives the same job")
    parser.add_argument("--priority", metavar="N", type=int, help="higher starts first; overrides the job file")
    parser.add_argument("--label", metavar="K=V", action="append", default=[], help="a label; may be repeated")
    parser.add_argument("--upload", action="store_true", help="send inputs even to a daemon on this machine")


def _add_watch(commands: _Commands, common: argparse.ArgumentParser) -> None:
    text = "show a job until it ends, and exit with its code"
    parser = _add(commands, common, "watch", "watch_command:watch", text, outputs=PLAIN)
    parser.add_argument("id", metavar="ID", help=_ID)
    parser.add_argument("--after", metavar="SEQ", type=_count, default=0, help="only events after this sequence")
    _add_timeout(parser)


def _add_wait(commands: _Commands, common: argparse.ArgumentParser) -> None:
    text = "wait silently until jobs have ended, and exit with the worst code: of a failed, then of a cancelled one"
    parser = _add(commands, common, "wait", "wait_command:wait", text, outputs=PLAIN)
    parser.add_argument("ids", metavar="ID", nargs="+", help=_ID)
    _add_timeout(parser)


def _add_cancel(commands: _Commands, common: argparse.ArgumentParser) -> None:
    text = "end jobs and all of their processes"
    parser = _add(commands, common, "cancel", "job_commands:cancel", text, outputs=PLAIN)
    parser.add_argument("ids", metavar="ID", nargs="+", help=_ID)
    parser.add_argument("--reason", metavar="TEXT", default="", help="told to whoever watches")


def _add_retry(commands: _Commands, common: argparse.ArgumentParser) -> None:
    text = "go on, as a new job, where one that failed or was cancelled stopped; prints the new id"
    parser = _add(commands, common, "retry", "retry_command:retry", text, outputs=PLAIN)
    parser.add_argument("id", metavar="ID", help=_ID)
    _add_following(parser)
    parser.add_argument("--request-id", metavar="ID", default="", help="a repeated retry with this gives the same job")


def _add_delete(commands: _Commands, common: argparse.ArgumentParser) -> None:
    text = "remove jobs that have ended, with their artifacts, logs and history; prints their ids"
    parser = _add(commands, common, "delete", "job_commands:delete", text, outputs=PLAIN)
    parser.add_argument("ids", metavar="ID", nargs="+", help=_ID)


def _add_explain(commands: _Commands, common: argparse.ArgumentParser) -> None:
    text = "say why things are as they are: what an entry waits for, why it failed, why an artifact is gone"
    parser = _add(commands, common, "explain", "explain_command:explain", text, outputs=PLAIN)
    parser.add_argument("id", metavar="ID", help=_ID)
    parser.add_argument("entry", metavar="STEP/ENTRY", nargs="?", default="", help="only this entry, or this step")


def _add_get(commands: _Commands, common: argparse.ArgumentParser) -> None:
    parser = _add(commands, common, "get", "job_commands:get", "tell everything known of a job", outputs=RICH)
    parser.add_argument("id", metavar="ID", help=_ID)


def _add_list(commands: _Commands, common: argparse.ArgumentParser) -> None:
    parser = _add(commands, common, "list", "list_command:list_jobs", "list jobs, newest first", outputs=RICH)
    parser.add_argument(
        "--state", metavar="S", action="append", default=[], type=str.upper, choices=_STATES,
        help=f"only jobs in this state; may be repeated ({', '.join(_STATES)})",
    )  # fmt: skip
    parser.add_argument("--name", metavar="N", default="", help="only jobs of this name")
    parser.add_argument("--limit", metavar="N", type=_count, default=50, help="at most this many (50; 0 for all)")
    parser.add_argument("--watch", action="store_true", help="show the list, and how it changes, until Ctrl-C")


def _add_logs(commands: _Commands, common: argparse.ArgumentParser) -> None:
    parser = _add(commands, common, "logs", "logs_command:logs", "print what the modules of a job wrote")
    parser.add_argument("id", metavar="ID", help=_ID)
    parser.add_argument("entry", metavar="STEP/ENTRY", nargs="?", default="", help="only this entry, as it wrote it")
    parser.add_argument("-f", "--follow", action="store_true", help="go on until the end, from the queue on if need be")
    parser.add_argument("--tail", metavar="N", type=_count, help="begin with the last N lines of each entry")
    parser.add_argument("--attempt", metavar="N", type=_count, default=0, help="this attempt, from 1 (the latest)")


def _add_download(commands: _Commands, common: argparse.ArgumentParser) -> None:
    text = "fetch results; prints each path on standard output"
    parser = _add(commands, common, "download", "download_command:download", text)
    parser.add_argument("id", metavar="ID", help=_ID)
    parser.add_argument("names", metavar="NAME", nargs="*", help="an artifact (all public ones)")
    parser.add_argument("--to", metavar="DIR", default=".", help="the folder to write to (the current one)")
    parser.add_argument("--force", action="store_true", help="replace existing files")


def _add_modules(commands: _Commands, common: argparse.ArgumentParser) -> None:
    text = "list the modules that jobs can use, or tell about one"
    parser = _add(commands, common, "modules", "daemon_commands:modules", text, outputs=RICH)
    parser.add_argument("name", metavar="NAME", nargs="?", default="", help="a module")


def _add_validate(commands: _Commands, common: argparse.ArgumentParser) -> None:
    text = "check a job file; nothing is stored"
    parser = _add(commands, common, "validate", "validate_command:validate", text, outputs=PLAIN)
    parser.add_argument("file", metavar="JOB.yaml", help="the job file; - for standard input")


def _add_open(commands: _Commands, common: argparse.ArgumentParser) -> None:
    parser = _add(commands, common, "open", "job_commands:open_dashboard", "show a job in the dashboard")
    parser.add_argument("id", metavar="ID", help=_ID)
    parser.add_argument("--print", dest="print_only", action="store_true", help="only print the address")


def _add_ping(commands: _Commands, common: argparse.ArgumentParser) -> None:
    _add(
        commands, common, "ping", "daemon_commands:ping", "tell whether a daemon answers, and what it is", outputs=PLAIN
    )


def _add_following(parser: argparse.ArgumentParser) -> "argparse._MutuallyExclusiveGroup":
    follow = parser.add_mutually_exclusive_group()
    follow.add_argument("--watch", action="store_true", help="show the job until it ends, and exit with its code")
    follow.add_argument("--wait", action="store_true", help="wait silently until the end, and exit with its code")
    _add_timeout(parser)
    return follow


def _add_timeout(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--timeout", metavar="SECONDS", type=_seconds, help="stop then, with exit code 124; the job goes on"
    )


def _count(text: str) -> int:
    number = int(text)
    if number < 0:
        raise argparse.ArgumentTypeError(f"{number} is below 0")
    return number


def _seconds(text: str) -> float:
    number = float(text)
    if not 0 < number < math.inf:
        raise argparse.ArgumentTypeError("give a number of seconds above 0")
    return number
