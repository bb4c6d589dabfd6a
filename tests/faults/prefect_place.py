"""The Prefect server that most worlds share."""

import os
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path
from types import TracebackType
from typing import Self

from jobd.prefect_settings import ServerPlace, server_environment


class PrefectPlace:
    """A server, up within the block."""

    def __init__(self, folder: Path) -> None:
        """Choose a port."""
        folder.mkdir(parents=True, exist_ok=True)
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = int(probe.getsockname()[1])
        self._place = ServerPlace(directory=folder, port=port)
        self.api_url = self._place.api_url

    def __enter__(self) -> Self:
        """Start it, and wait until it answers."""
        words = [
            "--directory",
            str(self._place.directory),
            "--port",
            str(self._place.port),
            "--parent",
            str(os.getpid()),
        ]
        with self._place.log.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-m", "jobd.prefect_child", *words],
                env=server_environment(self._place) | {"PYTHONPATH": os.environ.get("PYTHONPATH", "")},
                cwd=self._place.directory,
                stdout=log,
                stderr=log,
            )
        deadline = time.monotonic() + 180
        while not self._answers():
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"Prefect's server does not start: {self._place.log.read_text()[-2000:]}")
            time.sleep(0.2)
        return self

    def __exit__(
        self, _type: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        """End it."""
        self._process.terminate()
        try:
            self._process.wait(20)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def _answers(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self.api_url}/health", timeout=5):
                return True
        except OSError:
            return False
