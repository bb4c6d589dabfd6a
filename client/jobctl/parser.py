"""The grammar of the command line."""

import argparse

from jobctl import __version__
from jobctl.arguments import Arguments
from jobctl.output_format import PLAIN, RICH, OutputFormat
from jobctl.parser_parts import Commands, add_command, add_following, add_timeout, count, make_common, place, priority

_ID = "the job: its id, an unambiguous beginning of it, or @latest"
_STATES = ("QUEUED", "RUNNING", "CANCELLING", "SUCCEEDED", "FAILED", "CANCELLED")
_EPILOG = """\
exit codes:
  0 succeeded   1 job failed, or another error   2 usage   3 job cancelled   4 not allowed   5 daemon unreachable
  6 not found   7 job file or input invalid   124 --timeout reached   130 interrupted (the job goes on)

environment:
  JOBCTL_ADDRESS, JOBCTL_CONTEXT, JOBCTL_TOKEN, JOBCTL_TOKEN_FILE, JOBCTL_TLS_CA, JOBCTL_TLS_CERT, JOBCTL_TLS_KEY,
  NO_COLOR

jobctl COMMAND --help tells more about a command."""


def parse(argv: list[str] | None = None) -> Arguments:
    """Read the command line; leave with exit code 2 when it is not valid, with 0 after --help and --version."""
    return make_parser().parse_args(argv, namespace=Arguments())


def make_parser() -> argparse.ArgumentParser:
    """Make the parser of all commands."""
    common = make_common()
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
    _add_context(commands, common)
    text = "make, check and run modules on this machine, without a daemon; see jobctl module --help"
    module = commands.add_parser("module", help=text, description=text, add_help=False, allow_abbrev=False)
    module.set_defaults(command="module_command:misplaced")
    module.add_argument("name", metavar="ACTION", choices=("new", "check", "run"))
    module.add_argument("files", metavar="PATH", nargs="*")
    _add_completion(commands, common)
    return parser


def _add_submit(commands: Commands, common: argparse.ArgumentParser) -> None:
    text = "submit jobs; prints the id of each, alone, on standard output"
    parser = add_command(commands, common, "submit", "submit_command:submit", text, outputs=PLAIN)
    parser.add_argument("files", metavar="JOB.yaml", nargs="+", help="a job file; - for standard input")
    parser.add_argument(
        "--input", metavar="PARAM=PATH", action="append", default=[], help="an input file or folder; may be repeated"
    )
    follow = add_following(parser)
    follow.add_argument("--dry-run", action="store_true", help="show what would run; store nothing")
    parser.add_argument("--request-id", metavar="ID", default="", help="a repeated submit with this gives the same job")
    parser.add_argument("--priority", metavar="N", type=priority, help="higher starts first; overrides the job file")
    parser.add_argument("--label", metavar="K=V", action="append", default=[], help="a label; may be repeated")
    parser.add_argument("--upload", action="store_true", help="send inputs even to a daemon on this machine")


def _add_watch(commands: Commands, common: argparse.ArgumentParser) -> None:
    text = "show a job until it ends, and exit with its code"
    parser = add_command(commands, common, "watch", "watch_command:watch", text, outputs=PLAIN)
    parser.add_argument("id", metavar="ID", nargs="?", default="", help=_ID)
    parser.add_argument("--after", metavar="SEQ", type=place, default=0, help="only events after this sequence")
    parser.add_argument("--all", action="store_true", help="every job instead, from now on, until Ctrl-C")
    parser.add_argument(
        "--after-cursor", metavar="N", type=place, help="with --all: go on after this cursor; 0 for all there is"
    )
    _add_choosing(parser)
    add_timeout(parser)


def _add_wait(commands: Commands, common: argparse.ArgumentParser) -> None:
    text = "wait silently until jobs have ended, and exit with the worst code: of a failed, then of a cancelled one"
    parser = add_command(commands, common, "wait", "wait_command:wait", text, outputs=PLAIN)
    parser.add_argument("ids", metavar="ID", nargs="+", help=_ID)
    add_timeout(parser)


def _add_cancel(commands: Commands, common: argparse.ArgumentParser) -> None:
    text = "end jobs and all of their processes"
    parser = add_command(commands, common, "cancel", "job_commands:cancel", text, outputs=PLAIN)
    parser.add_argument("ids", metavar="ID", nargs="+", help=_ID)
    parser.add_argument("--reason", metavar="TEXT", default="", help="told to whoever watches")


def _add_retry(commands: Commands, common: argparse.ArgumentParser) -> None:
    text = "go on, as a new job, where one that failed or was cancelled stopped; prints the new id"
    parser = add_command(commands, common, "retry", "retry_command:retry", text, outputs=PLAIN)
    parser.add_argument("id", metavar="ID", help=_ID)
    add_following(parser)
    parser.add_argument("--request-id", metavar="ID", default="", help="a repeated retry with this gives the same job")


def _add_delete(commands: Commands, common: argparse.ArgumentParser) -> None:
    text = "remove jobs that have ended, with their artifacts, logs and history; prints their ids"
    parser = add_command(commands, common, "delete", "job_commands:delete", text, outputs=PLAIN)
    parser.add_argument("ids", metavar="ID", nargs="+", help=_ID)


def _add_explain(commands: Commands, common: argparse.ArgumentParser) -> None:
    text = "say why things are as they are: what an entry waits for, why it failed, why an artifact is gone"
    parser = add_command(commands, common, "explain", "explain_command:explain", text, outputs=PLAIN)
    parser.add_argument("id", metavar="ID", help=_ID)
    parser.add_argument("entry", metavar="STEP/ENTRY", nargs="?", default="", help="only this entry, or this step")


def _add_get(commands: Commands, common: argparse.ArgumentParser) -> None:
    parser = add_command(commands, common, "get", "job_commands:get", "tell everything known of a job", outputs=RICH)
    parser.add_argument("id", metavar="ID", help=_ID)


def _add_list(commands: Commands, common: argparse.ArgumentParser) -> None:
    parser = add_command(commands, common, "list", "list_command:list_jobs", "list jobs, newest first", outputs=RICH)
    _add_choosing(parser)
    times = "so long ago, as 90m, 2h or 7d, or a date and time"
    parser.add_argument("--since", metavar="TIME", default="", help=f"only jobs submitted from then on: {times}")
    parser.add_argument("--until", metavar="TIME", default="", help="only jobs submitted before")
    parser.add_argument("--limit", metavar="N", type=count, default=50, help="at most this many (50; 0 for all)")
    parser.add_argument("--watch", action="store_true", help="show the list, and how it changes, until Ctrl-C")


def _add_choosing(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--state", metavar="S", action="append", default=[], type=str.upper, choices=_STATES,
        help=f"only jobs in this state; may be repeated ({', '.join(_STATES)})",
    )  # fmt: skip
    parser.add_argument("--name", metavar="N", default="", help="only jobs of this name")
    about = "only jobs with this label, of any value without =V; may be repeated"
    parser.add_argument("--label", metavar="K[=V]", action="append", default=[], help=about)
    parser.add_argument("--owner", metavar="WHO", default="", help="only jobs that this identity submitted")


def _add_logs(commands: Commands, common: argparse.ArgumentParser) -> None:
    parser = add_command(commands, common, "logs", "logs_command:logs", "print what the modules of a job wrote")
    parser.add_argument("id", metavar="ID", help=_ID)
    parser.add_argument("entry", metavar="STEP/ENTRY", nargs="?", default="", help="only this entry, as it wrote it")
    parser.add_argument("-f", "--follow", action="store_true", help="go on until the end, from the queue on if need be")
    parser.add_argument("--tail", metavar="N", type=count, help="begin with the last N lines of each entry")
    attempts = parser.add_mutually_exclusive_group()
    attempts.add_argument("--attempt", metavar="N", type=count, default=0, help="this attempt, from 1 (the latest)")
    attempts.add_argument("--all-attempts", action="store_true", help="every attempt, the first one first")


def _add_download(commands: Commands, common: argparse.ArgumentParser) -> None:
    text = "fetch results; prints each path on standard output. One that was interrupted goes on from what has arrived"
    parser = add_command(commands, common, "download", "download_command:download", text)
    parser.add_argument("id", metavar="ID", help=_ID)
    parser.add_argument("names", metavar="NAME", nargs="*", help="an artifact (all public ones)")
    parser.add_argument("--to", metavar="DIR", default=".", help="the folder to write to (the current one)")
    parser.add_argument("--force", action="store_true", help="replace existing files")


def _add_modules(commands: Commands, common: argparse.ArgumentParser) -> None:
    text = "list the modules that jobs can use, or tell about one"
    parser = add_command(commands, common, "modules", "daemon_commands:modules", text, outputs=RICH)
    parser.add_argument("name", metavar="NAME", nargs="?", default="", help="a module")


def _add_validate(commands: Commands, common: argparse.ArgumentParser) -> None:
    text = "check a job file; nothing is stored"
    parser = add_command(commands, common, "validate", "validate_command:validate", text, outputs=PLAIN)
    parser.add_argument("file", metavar="JOB.yaml", help="the job file; - for standard input")


def _add_open(commands: Commands, common: argparse.ArgumentParser) -> None:
    parser = add_command(commands, common, "open", "job_commands:open_dashboard", "show a job in the dashboard")
    parser.add_argument("id", metavar="ID", nargs="?", default="", help=f"{_ID}; without it the first page")
    parser.add_argument(
        "--print", dest="print_only", action="store_true", help="only print the address, which lets in whoever has it"
    )


def _add_ping(commands: Commands, common: argparse.ArgumentParser) -> None:
    text = "tell whether a daemon answers, what it is, and, with -o wide, its limits"
    outputs = (OutputFormat.TEXT, OutputFormat.WIDE, OutputFormat.JSON)
    add_command(commands, common, "ping", "daemon_commands:ping", text, outputs=outputs)


def _add_context(commands: Commands, common: argparse.ArgumentParser) -> None:
    text = "name daemons, and choose the one that is used where nothing else is said"
    parser = commands.add_parser("context", help=text, description=text, allow_abbrev=False)
    actions = parser.add_subparsers(metavar="ACTION", required=True, title="actions")
    add_command(actions, common, "list", "context_command:list_contexts", "list the contexts", outputs=PLAIN)
    text = "keep a daemon under a name: --address, and where needed --token-file and --tls-ca"
    parser = add_command(actions, common, "add", "context_command:add", text)
    parser.add_argument("name", metavar="NAME", help="how it is to be called")
    parser.add_argument("--force", action="store_true", help="replace the one of this name")
    parser = add_command(actions, common, "use", "context_command:use", "use a context from now on")
    parser.add_argument("name", metavar="NAME", help="a context; - for none")
    parser = add_command(actions, common, "remove", "context_command:remove", "forget a context")
    parser.add_argument("name", metavar="NAME", help="a context")


def _add_completion(commands: Commands, common: argparse.ArgumentParser) -> None:
    text = "print what teaches a shell to complete jobctl's commands, as: source <(jobctl completion bash)"
    parser = add_command(commands, common, "completion", "completion_scripts:completion", text)
    parser.add_argument("name", metavar="SHELL", choices=("bash", "zsh", "fish"), help="bash, zsh or fish")
