"""`jobctl module`: the tools for authors of modules, which come with the daemon's part of this distribution."""

import os
import sys
from typing import NoReturn

from jobctl.arguments import Arguments
from jobctl.errors import UsageError


def delegate(words: list[str]) -> NoReturn:
    """Become `jobd module` with the same words; it says which extra is missing where there is none."""
    os.execv(sys.executable, [sys.executable, "-m", "jobd", "module", *words])  # noqa: S606 - no shell is wanted


def misplaced(arguments: Arguments) -> NoReturn:
    """Refuse a command line on which something stands before `module`: no daemon is asked, so nothing can."""
    raise UsageError(
        f"options of a daemon stand before `module {arguments.name}`, which asks none", hint="leave them out"
    )
