"""The command line's way in. Nothing heavy is imported before the command is known."""

import importlib
import io
import os
import sys
from collections.abc import Callable
from typing import cast

from jobctl.arguments import Arguments
from jobctl.errors import JobctlError, LocalFileError, UsageError
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
        return _perform(arguments)
    except JobctlError as error:
        _report(error, arguments)
        return error.exit_code
    except KeyboardInterrupt:
        say("interrupted")
        return ExitCode.INTERRUPTED
    except BrokenPipeError:
        _discard_output()
        return ExitCode.BROKEN_PIPE


def _perform(arguments: Arguments) -> ExitCode:
    """Run the command; what this machine refuses comes as one of this package's errors."""
    try:
        code = find_command(arguments.command)(arguments)
        sys.stdout.flush()
    except BrokenPipeError:
        raise
    except UnicodeEncodeError as error:
        raise UsageError(f"{error.object!a} is no text, which is all that a daemon can be told") from error
    except OSError as error:
        if error.filename is None:  # it is the output itself
            _discard_output()
        raise LocalFileError(f"{error.filename or 'standard output'}: {error.strerror or error}") from error
    return code


def _discard_output() -> None:
    # What is still buffered cannot be written; without this the interpreter would complain at its end.
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


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
