"""The command line's way in. Nothing heavy is imported before the command is known."""

import importlib
import io
import os
import sys
from collections.abc import Callable
from typing import cast

from jobctl.arguments import Arguments
from jobctl.errors import JobctlError
from jobctl.exit_codes import ExitCode
from jobctl.parser import parse
from jobctl.terminal import say

Command = Callable[[Arguments], ExitCode]


def main(argv: list[str] | None = None) -> int:
    """Run one command and give its exit code; `argv` is the process's own arguments unless given."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    words = sys.argv[1:] if argv is None else argv
    if words[:1] == ["__complete"]:
        return _complete(words[1:])
    if words[:1] == ["module"]:
        # Its options are jobd's affair.
        importlib.import_module("jobctl.module_command").delegate(words[1:])
    arguments = parse(argv)
    # gRPC's C library writes its own notes to standard error, across the live view; errors come as exceptions anyway.
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")
    try:
        code = find_command(arguments.command)(arguments)
        sys.stdout.flush()
    except JobctlError as error:
        _report(error, arguments)
        return error.exit_code
    except KeyboardInterrupt:
        say("interrupted")
        return ExitCode.INTERRUPTED
    except BrokenPipeError:
        # What is still buffered cannot be written; without this the interpreter would complain at its end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return ExitCode.BROKEN_PIPE
    return code


def find_command(name: str) -> Command:
    """Import the function that `module:function` names."""
    module, _, function = name.partition(":")
    return cast("Command", getattr(importlib.import_module(f"jobctl.{module}"), function))


def _complete(words: list[str]) -> int:
    # Not a command of the parser: it takes whatever was typed, and no help tells of it.
    return int(importlib.import_module("jobctl.completion").complete(words))


def _report(error: JobctlError, arguments: Arguments) -> None:
    # Imported here and not above: writing JSON is not needed to print a help text.
    importlib.import_module("jobctl.error_report").report(error, json=arguments.json)


if __name__ == "__main__":
    sys.exit(main())
