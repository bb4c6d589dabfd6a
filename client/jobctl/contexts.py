"""The daemons that a user has given names to, kept in a file of theirs."""

import json
import os
import tempfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Self

from jobctl.errors import LocalFileError, UsageError

_VERSION = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Context:
    """One daemon, as it is reached. Secrets stay in files of their own: only their paths are kept."""

    address: str
    """`unix:PATH` or `HOST:PORT`."""
    token_file: str = ""
    """The absolute path of the file that holds the token; empty for none."""
    tls_ca: str = ""
    """The absolute path of the authority's certificate; empty for none."""
    tls_cert: str = ""
    """The absolute path of the client's certificate; empty for none."""
    tls_key: str = ""
    """The absolute path of its key; empty for none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Contexts:
    """All contexts of a user."""

    current: str = ""
    """The name of the one in use; empty for none."""
    known: Mapping[str, Context] = field(default_factory=dict)
    """Contexts by name."""

    @classmethod
    def read(cls) -> Self:
        """Read the user's file, or give none at all where there is no file; `LocalFileError` for one that is broken."""
        path = config_file()
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
            known = {str(name): _read_context(raw) for name, raw in content["contexts"].items()}
            return cls(current=str(content.get("current") or ""), known=known)
        except FileNotFoundError:
            return cls()
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            hint = "mend it or remove it; jobctl context add makes it anew"
            raise LocalFileError(f"cannot read the contexts in {path}: {error!r}", hint=hint) from error

    def write(self) -> None:
        """Replace the user's file, which nobody else may read; it is there whole, or as it was."""
        path = config_file()
        content = {
            "version": _VERSION,
            "current": self.current,
            "contexts": {n: asdict(c) for n, c in self.known.items()},
        }
        try:
            path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            with tempfile.NamedTemporaryFile("w", dir=path.parent, prefix=".config-", delete=False) as file:
                file.write(json.dumps(content, indent=2) + "\n")
            Path(file.name).replace(path)
        except OSError as error:
            raise LocalFileError(f"cannot write {path}: {error.strerror}", hint="check its folder") from error

    def find(self, name: str) -> Context:
        """Give the context of this name; `UsageError` that names those there are."""
        if name not in self.known:
            known = ", ".join(sorted(self.known))
            hint = f"there are: {known}" if known else "make it with: jobctl context add"
            raise UsageError(f"there is no context {name}", hint=hint)
        return self.known[name]


def config_file() -> Path:
    """Give the place of the user's file."""
    home = os.environ.get("XDG_CONFIG_HOME")
    return (Path(home) if home else Path.home() / ".config") / "jobctl" / "config.json"


def _read_context(raw: Mapping[str, object]) -> Context:
    # Keys that a newer jobctl wrote are left alone.
    return Context(
        **{item.name: str(raw.get(item.name) or "") for item in fields(Context)} | {"address": str(raw["address"])}
    )
