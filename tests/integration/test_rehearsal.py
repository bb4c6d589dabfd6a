"""The rehearsal before the fork: it must leave nothing that a forked process would share."""

import json
import os
import socket
import subprocess
import sys
import textwrap
import threading

import pytest

SCRIPT = """
    import gc, json, os, threading
    from pathlib import Path
    from jobd import flow, rehearsal

    def connections():
        ours = {os.readlink(f"/proc/self/fd/{fd}") for fd in os.listdir("/proc/self/fd") if fd.isdigit()
                and os.path.islink(f"/proc/self/fd/{fd}")}
        lines = Path("/proc/self/net/tcp").read_text().splitlines()[1:]
        return [line for line in lines if f"socket:[{line.split()[9]}]" in ours]

    with flow.settings():
        rehearsal.rehearse()
        threads = [thread.name for thread in threading.enumerate()]
        with flow.client():
            gc.collect()
            print(json.dumps({"threads": threads, "connections": connections()}))
            try:
                rehearsal.rehearse()
            except RuntimeError as error:
                print(json.dumps(str(error)))
"""


@pytest.fixture
def prefect():
    """A server that counts who comes, and answers nobody."""
    callers = []
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            while True:
                try:
                    connection, address = listener.accept()
                except OSError:
                    return
                callers.append(address)
                connection.close()

        thread = threading.Thread(target=serve)
        thread.start()
        yield listener.getsockname()[1], callers
        listener.shutdown(socket.SHUT_RDWR)
    thread.join(30)


@pytest.mark.parametrize("csrf", ["true", "false"])
def test_the_server_hears_nothing_and_nothing_is_left(prefect, csrf, tmp_path):
    """No call reaches Prefect's server, no thread and no connection is there when runners are forked."""
    port, callers = prefect
    env = os.environ | {
        "PREFECT_API_URL": f"http://127.0.0.1:{port}/api",
        "PREFECT_HOME": str(tmp_path),
        "PREFECT_CLIENT_CSRF_SUPPORT_ENABLED": csrf,
        "PREFECT_CLIENT_MAX_RETRIES": "0",
        "PREFECT_LOGGING_LEVEL": "ERROR",
        "PREFECT_SERVER_EPHEMERAL_ENABLED": "false",
        "DO_NOT_TRACK": "1",
    }
    command = [sys.executable, "-c", textwrap.dedent(SCRIPT)]
    done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=120, check=True)

    left, again = map(json.loads, done.stdout.splitlines())
    assert left == {"threads": ["MainThread"], "connections": []}
    assert again == "the rehearsal comes before the client"
    assert callers == []
