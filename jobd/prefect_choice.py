"""Which Prefect server is used: the one that was named, or one of our own, on which port."""

import asyncio
import os
import socket

from structlog.typing import FilteringBoundLogger

from jobd.config import Config
from jobd.errors import ConfigError
from jobd.layout import StateDirectory, write_durably
from jobd.prefect_pidfile import end_leftover
from jobd.prefect_server import PrefectServer, RemotePrefect
from jobd.prefect_status import Prefect

_GRACE_SECONDS = 10.0
"""How long a server that a killed daemon left behind has to end."""


async def choose_prefect(config: Config, state: StateDirectory, log: FilteringBoundLogger) -> Prefect:
    """Give the server that the configuration or the environment names, else one of our own, not started yet.

    ConfigError when there is no port for it.
    """
    await _end_leftover_server(state, log)
    url = config.prefect_api_url or os.environ.get("PREFECT_API_URL", "")
    if url:
        return RemotePrefect(api_url=url, log=log, auth=_secret("AUTH_STRING"), key=_secret("KEY"))
    return PrefectServer(directory=state.prefect, port=_server_port(config.prefect_port, state, log), log=log)


async def _end_leftover_server(state: StateDirectory, log: FilteringBoundLogger) -> None:
    """End the Prefect server of a daemon that was killed, before its port is asked for again."""
    pid = await asyncio.to_thread(end_leftover, state.prefect / "server.pid", grace=_GRACE_SECONDS)
    if pid is not None:
        log.warning("prefect_leftover_ended", pid=pid)


def _secret(name: str) -> str:
    return os.environ.get(f"PREFECT_API_{name}", "")


def _server_port(wanted: int, state: StateDirectory, log: FilteringBoundLogger) -> int:
    """Choose the port of the embedded server: the one wanted, else the last one, for runners that live, else any."""
    file = state.prefect / "port"
    last = int(file.read_text()) if file.exists() else 0
    for port in (wanted or last, last, 0):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                log.warning("prefect_port_taken", port=port)
                continue
            chosen = int(probe.getsockname()[1])
        write_durably(file, f"{chosen}\n".encode())
        return chosen
    raise ConfigError("there is no free port on 127.0.0.1 for Prefect's server")
