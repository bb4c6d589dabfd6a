"""How clients on this machine find the daemon and its own token, which is an admin's."""

import json
import os
import secrets
from collections.abc import Sequence
from pathlib import Path

from structlog.typing import FilteringBoundLogger

from jobd.layout import StateDirectory, default_state_directory, write_durably


def load_token(state: StateDirectory) -> str:
    """Give the token of a state directory, made at first use."""
    token = state.token.read_text().strip() if state.token.exists() else ""
    if not token:
        token = secrets.token_urlsafe(32)
        write_durably(state.token, f"{token}\n".encode())
    return token


def well_known_folder() -> Path:
    """Give the folder in which clients on this machine look for a daemon."""
    runtime = os.environ.get("XDG_RUNTIME_DIR")
    return Path(runtime, "jobd") if runtime else default_state_directory()


class AccessFile:
    """Tells clients on this machine how to reach the daemon: in the state directory, and where they look first."""

    def __init__(self, state: StateDirectory, addresses: Sequence[str]) -> None:
        """Describe a daemon that serves these addresses."""
        self._text = json.dumps(
            {
                "version": 1,
                "pid": os.getpid(),
                "state_dir": str(state.root),
                "addresses": list(addresses),
                "token_file": str(state.token),
            },
            indent=2,
        )
        self._paths = (state.root / "access.json", well_known_folder() / "access.json")

    def write(self, log: FilteringBoundLogger) -> None:
        """Write the files; a place that cannot be written only makes clients need an address."""
        for path in self._paths:
            try:
                path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
                write_durably(path, self._text.encode())
            except OSError as error:
                log.warning("access_file_not_written", path=str(path), error=str(error))

    def remove(self) -> None:
        """Remove the files, unless another daemon has written its own there since."""
        for path in self._paths:
            if path.exists() and path.read_text() == self._text:
                path.unlink()
