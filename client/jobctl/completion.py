"""`jobctl __complete`: what a shell offers for the word that is being typed. Hidden, quick and silent."""

import argparse
import os
import re
import threading
from collections.abc import Sequence

from jobctl.command_line import CommandLine, split_line
from jobctl.contexts import Contexts
from jobctl.exit_codes import ExitCode
from jobctl.terminal import escape

_PATIENCE_SECONDS = 0.8
_MOST_SECONDS = 60.0
_LONGEST_TEXT = 60
Offer = tuple[str, list[tuple[str, str]]]
"""How the shell is to read it, `values`, `open` (more follows the word), `files` or `dirs`; and values with texts."""
_NOTHING: Offer = ("values", [])
_LIVE = {
    "ID": "jobs",
    "STEP/ENTRY": "entries",
    "PARAM=PATH": "inputs",
    "modules NAME": "modules",
    "download NAME": "artifacts",
}
"""What a daemon is asked for, by the placeholder in the help, with the command where that says too little."""
_PLACES = {"FILE": "files", "JOB.yaml": "files", "PATH": "files", "DIR": "dirs"}


def complete(words: Sequence[str]) -> ExitCode:
    """Print what fits: for bash from the whole line, for others from its words. Never fails, never takes a second."""
    shell, *typed = words or ("",)
    breaks = ""
    if shell == "bash":
        line, breaks = (*typed, "", "")[:2]
        typed = split_line(line)[1:] or [""]
    offers: list[Offer] = []
    worker = threading.Thread(target=lambda: offers.append(_find_quietly(typed)), daemon=True)
    worker.start()
    worker.join(_choose_patience())
    how, found = (offers or [_NOTHING])[0]
    print("\n".join([how, *_write(found, shell, typed[-1] if typed else "", breaks)]), flush=True)
    if worker.is_alive():
        os._exit(0)  # whatever it waits for, the person at the keyboard does not
    return ExitCode.SUCCEEDED


def _choose_patience() -> float:
    try:
        return min(max(float(os.environ["JOBCTL_COMPLETION_SECONDS"]), 0.0), _MOST_SECONDS)
    except (KeyError, ValueError):
        return _PATIENCE_SECONDS


def _find_quietly(typed: Sequence[str]) -> Offer:
    try:
        return find(typed)
    except Exception:  # noqa: BLE001 - in the middle of a typed line there is no place for any error
        return _NOTHING


def find(typed: Sequence[str]) -> Offer:
    """Find what may stand in the place of the last word."""
    *before, current = typed or [""]
    line = CommandLine.read(before)
    if line.waiting:
        return _keep(_find_value(line.waiting, line, current), current)
    if current.startswith("-") and not line.plain:
        name, equals, value = current.partition("=")
        action = line.find_option(name)
        if equals and action and action.nargs != 0:
            how, found = _keep(_find_value(action, line, value), value)
            return how, [(f"{name}={text}", about) for text, about in found]
        options = [(option, action.help or "") for action in line.options() for option in action.option_strings]
        return _keep(("values", [option for option in options if option[1] != argparse.SUPPRESS]), current)
    if commands := line.subcommands():
        return _keep(("values", list(commands.items())), current)
    operand = line.operand()
    return _keep(_find_value(operand, line, current), current) if operand else _NOTHING


def _find_value(action: argparse.Action, line: CommandLine, current: str) -> Offer:
    if action.choices:
        return "values", [(str(choice), "") for choice in action.choices]
    metavar = str(action.metavar)
    if action.dest == "context" or (line.command[:1] == ("context",) and metavar == "NAME"):
        return "values", [(name, context.address) for name, context in Contexts.read().known.items()]
    if metavar == "PARAM=PATH" and "=" in current:
        return "files", []
    if metavar in _PLACES:
        return _PLACES[metavar], []
    kind = _LIVE.get(f"{' '.join(line.command)} {metavar}") or _LIVE.get(metavar)
    if not kind:
        return _NOTHING
    from jobctl.candidates import ask_daemon  # noqa: PLC0415 - gRPC is loaded only when the daemon is asked

    return "open" if metavar == "PARAM=PATH" else "values", ask_daemon(kind, line)


def _keep(offer: Offer, current: str) -> Offer:
    how, found = offer
    return how, [(value, text) for value, text in found if value.startswith(current)]


def _write(found: Sequence[tuple[str, str]], shell: str, current: str, breaks: str) -> list[str]:
    # Names come from others: one with a line end or an escape in it would be a line, or more, of its own.
    shown = [(value, escape(text)[:_LONGEST_TEXT]) for value, text in found if value == escape(value)]
    match shell:
        case "bash":
            # Bash replaces only what follows the last of the characters at which it breaks words; an @ it keeps.
            cut = max((current.rfind(character) + (character != "@") for character in breaks), default=0)
            return [_quote(value[max(0, cut) :]) for value, _ in shown]
        case "zsh":
            return [value.replace("\\", "\\\\").replace(":", "\\:") + f":{text}" for value, text in shown]
        case _:
            return [f"{value}\t{text}" for value, text in shown]


def _quote(value: str) -> str:
    return re.sub(r"([^A-Za-z0-9_@%+=:,./-])", r"\\\1", value)
