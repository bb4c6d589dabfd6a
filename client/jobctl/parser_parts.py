"""What the parsers of several commands have in common."""

import argparse
import math
from collections.abc import Sequence
from typing import TypeAlias

from jobctl.output_format import OutputFormat

Commands: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"  # noqa: SLF001 - it has no public name


def make_common() -> argparse.ArgumentParser:
    """Make the options that every command has."""
    # These stand before or after the command: no defaults here, or the second place would undo the first.
    common = argparse.ArgumentParser(add_help=False, allow_abbrev=False, argument_default=argparse.SUPPRESS)
    common.add_argument(
        "--address", metavar="ADDR", help="unix:PATH or HOST:PORT (JOBCTL_ADDRESS; default: found by itself)"
    )
    common.add_argument(
        "--token-file", metavar="FILE", help="holds the token for a TCP address (JOBCTL_TOKEN_FILE; JOBCTL_TOKEN)"
    )
    common.add_argument("--context", metavar="NAME", help="a daemon of `jobctl context list` (JOBCTL_CONTEXT)")
    common.add_argument("--tls-ca", metavar="FILE", help="speak TLS; the authority that the daemon's certificate is of")
    common.add_argument("--tls-cert", metavar="FILE", help="this user's certificate, for a daemon that asks for one")
    common.add_argument("--tls-key", metavar="FILE", help="its key")
    common.add_argument("--no-color", action="store_true", help="leave colours out (NO_COLOR)")
    return common


def add_command(
    commands: Commands,
    common: argparse.ArgumentParser,
    name: str,
    function: str,
    text: str,
    *,
    outputs: Sequence[OutputFormat] = (),
) -> argparse.ArgumentParser:
    """Add a command that `function`, a `module:function`, performs; of what `-o` offers the first is usual."""
    parser = commands.add_parser(name, help=text, description=text, parents=[common], allow_abbrev=False)
    parser.set_defaults(command=function)
    if outputs:
        # As text: an enumeration would show its own spelling in the messages.
        names = [str(output) for output in outputs]
        about = f"{', '.join(names)} ({names[0]})"
        parser.add_argument("-o", "--output", metavar="FORMAT", choices=names, default=names[0], help=about)
    return parser


def add_following(parser: argparse.ArgumentParser) -> "argparse._MutuallyExclusiveGroup":
    """Add what follows a job that was accepted."""
    follow = parser.add_mutually_exclusive_group()
    follow.add_argument("--watch", action="store_true", help="show the job until it ends, and exit with its code")
    follow.add_argument("--wait", action="store_true", help="wait silently until the end, and exit with its code")
    add_timeout(parser)
    return follow


def add_timeout(parser: argparse.ArgumentParser) -> None:
    """Add the end of a wait."""
    parser.add_argument(
        "--timeout", metavar="SECONDS", type=seconds, help="stop then, with exit code 124; the job goes on"
    )


def count(text: str) -> int:
    """Read a whole number that is not negative, and no more than a daemon can be told."""
    return _bounded(text, 0, 2**31 - 1)


def place(text: str) -> int:
    """Read a place in a history, as `count` reads a number."""
    return _bounded(text, 0, 2**63 - 1)


def priority(text: str) -> int:
    """Read a job's priority."""
    return _bounded(text, -1000, 1000)


def _bounded(text: str, least: int, most: int) -> int:
    number = int(text)
    if not least <= number <= most:
        raise argparse.ArgumentTypeError(f"{number} is not between {least} and {most}")
    return number


def seconds(text: str) -> float:
    """Read a number of seconds above 0."""
    number = float(text)
    if not 0 < number < math.inf:
        raise argparse.ArgumentTypeError("give a number of seconds above 0")
    return number
