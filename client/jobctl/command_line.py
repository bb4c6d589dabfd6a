"""A command line that is still being typed: what may stand at its end."""

import argparse
import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from jobctl.arguments import Arguments
from jobctl.parser import make_parser


@dataclass(slots=True)
class CommandLine:
    """The words before the one that is typed, as far as they can be understood."""

    parser: argparse.ArgumentParser
    """Of the command that was named last."""
    command: tuple[str, ...] = ()
    """The command, with its action where it has some."""
    operands: list[str] = field(default_factory=list)
    """What was given to it."""
    arguments: Arguments = field(default_factory=Arguments)
    """The options that were given a value."""
    waiting: argparse.Action | None = None
    """The option whose value comes next."""
    plain: bool = False
    """Whether `--` was there, so that no more options come."""

    @classmethod
    def read(cls, words: Sequence[str]) -> "CommandLine":
        """Read the words; what makes no sense is passed over."""
        line = cls(make_parser())
        for word in words:
            line._take(word)
        return line

    def options(self) -> Iterator[argparse.Action]:
        """List the options that may be given here."""
        return (action for action in _list_actions(self.parser) if action.option_strings)

    def find_option(self, name: str) -> argparse.Action | None:
        """Find an option by its name."""
        return next((action for action in self.options() if name in action.option_strings), None)

    def operand(self) -> argparse.Action | None:
        """Tell which operand comes next; the last may be repeated."""
        actions = [action for action in _list_actions(self.parser) if not action.option_strings]
        if len(self.operands) < len(actions):
            return actions[len(self.operands)]
        return actions[-1] if actions and actions[-1].nargs in {"+", "*"} else None

    def subcommands(self) -> dict[str, str]:
        """List the commands that may come next, each with what it does."""
        operand = self.operand()
        if not isinstance(operand, argparse._SubParsersAction):  # noqa: SLF001 - it has no public name
            return {}
        return {choice.dest: choice.help or "" for choice in operand._get_subactions()}  # noqa: SLF001 - nor this

    def _take(self, word: str) -> None:
        if self.waiting:
            self._note(self.waiting, word)
            self.waiting = None
        elif word == "--" and not self.plain:
            self.plain = True
        elif word.startswith("-") and word != "-" and not self.plain:
            name, equals, value = word.partition("=")
            action = self.find_option(name)
            if action and equals:
                self._note(action, value)
            elif action and action.nargs != 0:
                self.waiting = action
        else:
            self._take_operand(word)

    def _take_operand(self, word: str) -> None:
        operand = self.operand()
        if isinstance(operand, argparse._SubParsersAction) and word in operand.choices:  # noqa: SLF001 - as above
            self.parser = operand.choices[word]
            self.command = (*self.command, word)
            self.operands = []
        else:
            self.operands.append(word)

    def _note(self, action: argparse.Action, value: str) -> None:
        setattr(self.arguments, action.dest, value)


def split_line(line: str) -> list[str]:
    """Split what was typed into words as a shell does; the last is the one that is being typed, and may be empty."""
    for closing in ("", "'", '"'):
        try:
            # A letter at the end keeps the last word, whether it is empty or ends in a backslash that quotes a blank.
            *words, last = shlex.split(f"{line}x{closing}")
        except ValueError:
            continue
        return [*words, last[:-1]]
    return [""]


def _list_actions(parser: argparse.ArgumentParser) -> list[argparse.Action]:
    return parser._actions  # noqa: SLF001 - argparse tells nobody else what it knows
