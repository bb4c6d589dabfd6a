"""How to reach a Prefect server: the daemon's own, which wants a password, or one as it is shipped, which does not."""

import base64
import json
import urllib.request
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class PrefectAccess:
    """The address of a server's API, and `user:password`, empty where none is wanted."""

    url: str
    auth: str = ""

    @property
    def environment(self) -> dict[str, str]:
        """What a program that uses Prefect has to be told."""
        secret = {"PREFECT_API_AUTH_STRING": self.auth} if self.auth else {}
        return {"PREFECT_API_URL": self.url, "PREFECT_LOGGING_LEVEL": "WARNING"} | secret

    def ask(self, path: str, content: object | None = None) -> bytes:
        """Ask the API; OSError when it does not answer, or not well."""
        headers = {"Content-Type": "application/json"}
        if self.auth:
            headers["Authorization"] = f"Basic {base64.b64encode(self.auth.encode()).decode()}"
        data = None if content is None else json.dumps(content).encode()
        with urllib.request.urlopen(urllib.request.Request(self.url + path, data, headers), timeout=30) as answer:
            return bytes(answer.read())


def embedded(url: str, state: Path) -> PrefectAccess:
    """Give the access to the server of a daemon with this state directory."""
    file = state / "prefect/auth"
    return PrefectAccess(url, file.read_text().strip() if file.exists() else "")
