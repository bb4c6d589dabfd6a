"""The process that is the embedded Prefect server: `python -m jobd.prefect_child`.

It exists because a server that `prefect server start` starts outlives a daemon that was killed, binds its port only
after seconds of imports, and answers to any web page.
"""

import argparse
import gc
import os
import signal
import socket
import sys
from pathlib import Path
from types import FrameType

from jobd.prefect_pidfile import write_pid_file
from jobd.prefect_settings import EXIT_ORPHANED, EXIT_PORT_TAKEN, HOST, ServerPlace
from jobd.prefect_template import make_template, place_template, template_path
from jobd.procfs import die_with_parent

_DRAIN_SECONDS = 5
"""How long open requests may take to end after SIGTERM."""
_STOP_SECONDS = 15
"""After this long from SIGTERM the kernel ends the process, whatever hangs."""
_ALLOCATIONS = 50_000
"""Objects made before Python looks for garbage. Batches make many that live; as shipped it looks 70 times as often."""


def main() -> None:
    """Serve until SIGTERM, or make the database template and end."""
    parser = argparse.ArgumentParser(prog="python -m jobd.prefect_child", allow_abbrev=False, description=__doc__)
    parser.add_argument("--prepare", action="store_true", help="make the database template and end")
    parser.add_argument("--template", type=Path, default=template_path(), help="the database template's file")
    parser.add_argument("--directory", type=Path, help="where the server keeps its files")
    parser.add_argument("--port", type=int, help=f"the port on {HOST}")
    parser.add_argument("--parent", type=int, help="the process whose end is this one's")
    options = parser.parse_args()
    if options.prepare:
        make_template(options.template)
        return
    if None in (options.directory, options.port, options.parent):
        parser.error("--directory, --port and --parent are needed")
    _serve(ServerPlace(directory=options.directory, port=options.port), options.parent, options.template)


def _serve(place: ServerPlace, parent: int, template: Path) -> None:
    """Take the port, then load and run the server; slow things come last, so that conflicts are told at once."""
    _follow(parent)
    listener = _listener(place.port)
    write_pid_file(place.pid_file)
    place_template(place.database, template)
    _run(place, listener)


def _follow(parent: int) -> None:
    """Have the kernel send SIGTERM to this process when its parent ends."""
    die_with_parent(signal.SIGTERM)
    # A parent that ended before the line above sends nothing.
    if os.getppid() != parent:
        sys.exit(EXIT_ORPHANED)


def _listener(port: int) -> socket.socket:
    """Take the port without accepting connections yet."""
    # Named in full: asyncio sets TCP_NODELAY only on sockets whose protocol says TCP, and accepted ones inherit it.
    # Without it each answer waits 40 ms for an acknowledgement between its head and its body.
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    # Connections of the server before this one may linger in the kernel; a living listener is still an error.
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((HOST, port))
    except OSError as error:
        print(f"cannot listen on {HOST}:{port}: {error.strerror}", file=sys.stderr)
        sys.exit(EXIT_PORT_TAKEN)
    return listener


def _run(place: ServerPlace, listener: socket.socket) -> None:
    """Run Prefect's application on the socket until a signal ends it."""
    import prefect  # noqa: PLC0415 - 2 s
    import uvicorn  # noqa: PLC0415 - after the port is taken
    from prefect.server.api.server import create_app  # noqa: PLC0415 - 2 s

    from jobd.prefect_database import share_file  # noqa: PLC0415 - after the port is taken
    from jobd.prefect_guard import LocalPagesOnly  # noqa: PLC0415 - after the port is taken

    share_file()

    # Prefect ships two dashboards. The newer contains a session recorder, and the older advertises it where it exists.
    prefect.__ui_v2_static_path__ = place.directory / "no-second-dashboard"

    class Server(uvicorn.Server):
        """A server that cannot hang in its own shutdown."""

        def handle_exit(self, sig: int, frame: FrameType | None) -> None:
            """Begin the shutdown, and bound it."""
            signal.alarm(_STOP_SECONDS)
            super().handle_exit(sig, frame)

    config = uvicorn.Config(
        LocalPagesOnly(create_app(final=True), place.origins),
        log_level="warning",
        access_log=False,
        timeout_graceful_shutdown=_DRAIN_SECONDS,
        # Events come from this machine: to deflate them took as long as to write them.
        ws_per_message_deflate=False,
    )
    # What is here now stays: a collection need not go through it again and again.
    gc.collect()
    gc.freeze()
    gc.set_threshold(_ALLOCATIONS)
    Server(config).run(sockets=[listener])


if __name__ == "__main__":
    main()
