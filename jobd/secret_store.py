"""The operator's secrets: a file each, by name, in a folder that only the daemon's user can open."""

import re
from collections.abc import Mapping
from pathlib import Path

from jobd.errors import JobdError
from jobd.layout import write_durably
from jobd.names import shown

SHORTEST = 8
"""In characters. What is shorter would be masked in ordinary text, or could be guessed from what the masks leave."""
MOST_BYTES = 64 << 10
"""The kernel takes no environment variable beyond 128 KiB."""
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]{0,99}")


class SecretError(JobdError):
    """A secret cannot be had or stored."""

    reason = "SECRET"


class SecretStore:
    """The secrets in one folder."""

    def __init__(self, folder: Path) -> None:
        """Serve `folder`, which need not exist."""
        self._folder = folder

    def names(self) -> frozenset[str]:
        """Give the names of all secrets; what else lies in the folder is none."""
        if not self._folder.is_dir():
            return frozenset()
        return frozenset(path.name for path in self._folder.iterdir() if _NAME.fullmatch(path.name) and path.is_file())

    def read(self, name: str) -> str:
        """Give the value of a secret, without a line end behind it; SecretError when there is none that can be used."""
        hint = f"store it with `jobd secret set {name}`"
        try:
            data = (self._folder / check_name(name)).read_bytes()
        except FileNotFoundError:
            raise SecretError(f"there is no secret {shown(name)}", hint=hint) from None
        except OSError as error:
            raise SecretError(f"the secret {shown(name)} cannot be read: {error.strerror}") from error
        return _check_value(name, data)

    def read_all(self, wanted: Mapping[str, str]) -> dict[str, str]:
        """Give the values for environment variables, each of which names its secret; SecretError as of `read`."""
        return {variable: self.read(name) for variable, name in wanted.items()}

    def write(self, name: str, data: bytes) -> None:
        """Store a secret, also in the place of an earlier one; SecretError when name or value cannot be used."""
        check_name(name)
        value = _check_value(name, data)
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        write_durably(self._folder / name, value.encode())

    def remove(self, name: str) -> None:
        """Remove a secret; SecretError when there is none."""
        try:
            (self._folder / check_name(name)).unlink()
        except FileNotFoundError:
            raise SecretError(f"there is no secret {shown(name)}") from None


def check_name(name: str) -> str:
    """Give the name back when a secret can have it; SecretError otherwise."""
    if not _NAME.fullmatch(name):
        hint = "a letter or `_`, then letters, digits, `_`, `.` and `-`, at most 100 in all"
        raise SecretError(f"{shown(name)} is not a name for a secret", hint=hint)
    return name


def _check_value(name: str, data: bytes) -> str:
    try:
        value = data.decode().removesuffix("\n").removesuffix("\r")
    except UnicodeDecodeError:
        raise SecretError(f"the value of {shown(name)} is not text in UTF-8", hint="encode it as base64") from None
    if "\0" in value:
        raise SecretError(f"the value of {shown(name)} has a zero byte in it", hint="encode it as base64")
    if len(value.strip()) < SHORTEST:
        message = f"the value of {shown(name)} is shorter than {SHORTEST} characters"
        raise SecretError(message, hint="it could not be masked in logs; use a longer one")
    if len(data) > MOST_BYTES:
        raise SecretError(
            f"the value of {shown(name)} has more than {MOST_BYTES} bytes", hint="no environment variable could hold it"
        )
    return value
