"""`jobctl context`."""

import os
import re
from dataclasses import asdict, replace
from json import dumps
from pathlib import Path

from jobctl.address import Address
from jobctl.arguments import Arguments
from jobctl.contexts import Context, Contexts
from jobctl.errors import UsageError
from jobctl.exit_codes import ExitCode
from jobctl.terminal import escape, say

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}")


def list_contexts(arguments: Arguments) -> ExitCode:
    """Print the name of each context, the one in use with a star, and its address."""
    contexts = Contexts.read()
    if arguments.json:
        known = [
            {"name": name, "current": name == contexts.current, **asdict(contexts.known[name])}
            for name in sorted(contexts.known)
        ]
        print(dumps({"contexts": known}, indent=2))
        return ExitCode.SUCCEEDED
    width = max(map(len, contexts.known), default=0)
    for name in sorted(contexts.known):
        mark = "*" if name == contexts.current else " "
        print(f"{mark} {escape(name):<{width}}  {escape(contexts.known[name].address)}")
    if not contexts.known:
        say("there are no contexts; make one with: jobctl context add NAME --address ADDR")
    return ExitCode.SUCCEEDED


def use(arguments: Arguments) -> ExitCode:
    """Make a context the one that is used where nothing else is said; with `-` none is."""
    contexts = Contexts.read()
    name = "" if arguments.name == "-" else arguments.name
    if name:
        contexts.find(name)
    replace(contexts, current=name).write()
    say(
        f"in use: {escape(contexts.known[name].address)}"
        if name
        else "no context is in use; the daemon is found by itself"
    )
    return ExitCode.SUCCEEDED


def add(arguments: Arguments) -> ExitCode:
    """Keep a daemon under a name; the first one is in use from then on."""
    if not arguments.address:
        raise UsageError("--address is missing", hint=f"jobctl context add {arguments.name} --address HOST:PORT")
    if not _NAME.fullmatch(arguments.name):
        raise UsageError(f"not a name for a context: {arguments.name!r}", hint="letters, digits, `.`, `_` and `-`")
    contexts = Contexts.read()
    if arguments.name in contexts.known and not arguments.force:
        raise UsageError(f"there is a context {arguments.name}", hint="replace it with --force")
    made = Context(
        address=str(Address.parse(arguments.address)),
        token_file=_locate(arguments.token_file),
        tls_ca=_locate(arguments.tls_ca),
        tls_cert=_locate(arguments.tls_cert),
        tls_key=_locate(arguments.tls_key),
    )
    current = contexts.current or arguments.name
    replace(contexts, current=current, known={**contexts.known, arguments.name: made}).write()
    return ExitCode.SUCCEEDED


def remove(arguments: Arguments) -> ExitCode:
    """Forget a context; if it was in use, none is."""
    contexts = Contexts.read()
    contexts.find(arguments.name)
    known = {name: context for name, context in contexts.known.items() if name != arguments.name}
    current = "" if contexts.current == arguments.name else contexts.current
    replace(contexts, current=current, known=known).write()
    return ExitCode.SUCCEEDED


def _locate(path: str | None) -> str:
    """Give the absolute path, which holds in whatever folder jobctl is run later; a missing file is told at once."""
    if not path:
        return ""
    found = Path(path).expanduser().absolute()
    if not os.path.isfile(found):  # noqa: PTH113 - also where it may not be looked
        raise UsageError(f"there is no file {path}", hint="check the path")
    return str(found)
