"""`jobd secret`: the operator's way to the secrets, whether a daemon runs or not."""

import getpass
import sys
from pathlib import Path

from jobd.secret_store import MOST_BYTES, SecretStore


def store(folder: Path, name: str) -> None:
    """Store the value that standard input holds, or that is typed unseen on a terminal; SecretError."""
    if sys.stdin.isatty():
        data = getpass.getpass(f"value of {name}: ").encode()
    else:
        data = sys.stdin.buffer.read(MOST_BYTES + 2)
    SecretStore(folder).write(name, data)


def listed(folder: Path) -> list[str]:
    """Give the names of all secrets, never a value."""
    return sorted(SecretStore(folder).names())


def remove(folder: Path, name: str) -> None:
    """Remove a secret; entries that are started from now on do without, and fail. SecretError when there is none."""
    SecretStore(folder).remove(name)
