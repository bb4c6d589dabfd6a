"""The embedded Prefect server: started, watched, restarted and ended as real processes."""

import asyncio
import base64
import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Coroutine, Iterator
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread
from typing import Any
from urllib.parse import unquote

import httpx
import pytest
import structlog

from jobd import prefect_api, prefect_server, procfs
from jobd.errors import PrefectApiError
from jobd.prefect_api import PrefectApi, StateType, Verdict
from jobd.prefect_login import LOGIN_PAGE, load_auth, login_url
from jobd.prefect_pidfile import end_leftover, read_pid_file
from jobd.prefect_server import PrefectServer, PrefectStatus, RemotePrefect
from jobd.prefect_template import place_template

LOG = structlog.get_logger()
PATIENCE = 60.0
"""Seconds until something that must happen counts as not happening."""

SUPERVISOR = """
import asyncio, sys
from pathlib import Path
import structlog
from jobd.prefect_server import PrefectServer
directory, port, template = sys.argv[1:]
log = structlog.get_logger()
asyncio.run(PrefectServer(directory=Path(directory), port=int(port), log=log, template=Path(template)).run())
"""

STUBBORN = """
import signal, sys, time
from pathlib import Path
from jobd.prefect_pidfile import write_pid_file
signal.signal(signal.SIGTERM, signal.SIG_IGN)
write_pid_file(Path(sys.argv[1]))
while True:
    signal.pause()
"""


def free_port() -> int:
    """Find a port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


async def until(condition: Callable[[], object]) -> None:
    """Wait for a condition that no event tells of."""
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        await asyncio.sleep(0.05)


def session(pid: int) -> list[int]:
    """List the running processes of a session."""
    return [process.pid for process in procfs.processes() if process.session == pid]


@dataclass
class Running:
    """A supervised server in a loop of its own on the main thread."""

    runner: asyncio.Runner
    server: PrefectServer
    directory: Path
    task: asyncio.Task[None]

    def do(self, work: Coroutine[Any, Any, Any]) -> Any:
        """Let the loop run until the work is done."""
        return self.runner.run(asyncio.wait_for(work, PATIENCE))

    @property
    def pid(self) -> int:
        """Give the server's process."""
        name = read_pid_file(self.directory / "server.pid")
        assert name is not None
        return name.pid

    def stop(self) -> None:
        """End the supervision and see that nothing is left."""
        pid = self.pid
        self.task.cancel()
        self.do(asyncio.wait({self.task}))
        assert self.task.cancelled()
        assert session(pid) == []


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A migrated database, made as an installation makes it."""
    path = tmp_path_factory.mktemp("template") / "prefect.db"
    command = [sys.executable, "-m", "jobd.prefect_child", "--prepare", "--template", str(path)]
    subprocess.run(command, check=True, timeout=240)
    return path


@pytest.fixture(scope="module")
def running(template: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """One server for the tests of this file, started where the user has settings for another one."""
    directory = tmp_path_factory.mktemp("prefect")
    server = PrefectServer(directory=directory, port=free_port(), log=LOG, template=template)
    with pytest.MonkeyPatch.context() as environment, asyncio.Runner() as runner:
        environment.setenv("PREFECT_API_KEY", "pnu_of_somewhere_else")
        environment.setenv("PREFECT_SERVER_ANALYTICS_ENABLED", "true")
        environment.setattr(prefect_server, "_STEADY_POLL", 0.2)
        environment.setattr(prefect_server, "_ANSWER_SECONDS", 2.0)
        before = server.status
        task = runner.get_loop().create_task(server.run())
        up = Running(runner, server, directory, task)
        up.do(server.wait_ready())
        assert not before.ready
        yield up
        up.stop()


def credentials(auth: str) -> httpx.BasicAuth:
    """Make a header of `user:password`."""
    user, _, password = auth.partition(":")
    return httpx.BasicAuth(user, password)


def get(running: Running, path: str, **headers: str) -> httpx.Response:
    """Ask the server for something as a program, or with these headers as something else."""
    names = {name.replace("_", "-"): value for name, value in headers.items()}
    url, auth = running.server.ui_url + path, credentials(running.server.auth)
    return httpx.get(url, headers=names, auth=auth, timeout=PATIENCE, trust_env=False)


def post(running: Running, path: str, **content: Any) -> Any:
    """Post to the API."""
    url, auth = running.server.api_url + path, credentials(running.server.auth)
    answer = httpx.post(url, json=content, auth=auth, timeout=PATIENCE, trust_env=False)
    return answer.raise_for_status().json()


def make_flow_run(running: Running, job: str, *tags: str) -> uuid.UUID:
    """Record a flow run that runs, as a runner does."""
    flow = post(running, "/flows/", name="a_flow")["id"]
    state = {"type": "RUNNING", "name": "Running"}
    made = post(running, "/flow_runs/", flow_id=flow, name=f"a_flow-{job}", tags=[*tags, f"job:{job}"], state=state)
    return uuid.UUID(made["id"])


def test_a_started_server_is_ready_and_its_dashboard_asks_its_own_api(running: Running) -> None:
    """The dashboard is served, and points at the API beside it whatever the port."""
    settings = get(running, "/ui-settings").json()
    page = get(running, "/", Accept="text/html")
    assert running.server.status == PrefectStatus(ready=True, reason="")
    assert settings["api_url"] == running.server.api_url
    assert settings["available_uis"] == ["v1"]
    assert page.status_code == 200
    assert "<html" in page.text


def test_every_setting_reaches_the_server_and_none_of_the_users_does(running: Running) -> None:
    """A setting's name that Prefect no longer knows is found here, because Prefect ignores it in silence."""
    settings = get(running, "/api/admin/settings").json()
    server, services = settings["server"], settings["server"]["services"]
    assert settings["api"]["key"] is None
    assert settings["home"] == str(running.directory)
    assert server["analytics_enabled"] is False
    assert server["ui"]["show_promotional_content"] is False
    assert server["ephemeral"]["enabled"] is False
    assert server["register_blocks_on_start"] is False
    assert server["memoize_block_auto_registration"] is False
    assert server["logging_level"] == "WARNING"
    assert running.server.ui_url in server["api"]["cors_allowed_origins"].split(",")
    assert set(services["db_vacuum"]["enabled"]) == {"events", "flow_runs"}
    on = {name for name, service in services.items() if service["enabled"] not in (False, None)}
    assert on == {"task_run_recorder", "event_persister", "cancellation_cleanup", "db_vacuum"}
    recorder, persister = services["task_run_recorder"], services["event_persister"]
    assert (recorder["batch_size"], recorder["read_batch_size"], recorder["flush_interval"]) == (200, 200, 1)
    assert (persister["batch_size"], persister["read_batch_size"]) == (500, 500)


def test_the_server_refuses_pages_of_other_sites(running: Running) -> None:
    """A page elsewhere in the user's browser can neither call the API, nor frame it, nor come by another name."""
    host = running.server.ui_url.removeprefix("http://")
    websocket = {"Connection": "Upgrade", "Upgrade": "websocket", "Sec_WebSocket_Version": "13"}
    websocket["Sec_WebSocket_Key"] = "dGhlIHNhbXBsZSBub25jZQ=="
    assert get(running, "/api/health", Origin="http://evil.example").status_code == 403
    assert (
        get(running, "/api/health", Host=f"evil.example:{running.server.ui_url.rpartition(':')[2]}").status_code == 403
    )
    assert get(running, "/api/events/in", Origin="http://evil.example", **websocket).status_code == 403
    assert get(running, "/api/health", Origin=f"http://{host}").status_code == 200
    assert "connect-src 'self'" in get(running, "/").headers["Content-Security-Policy"]


def test_without_the_password_nobody_reads_or_writes(running: Running) -> None:
    """Only the health is told to everybody; the password is in a file of the daemon's user, and stays the same."""
    file = running.directory / "auth"
    wrong = httpx.BasicAuth("jobd", "wrong")
    for auth in (None, wrong):
        for path in ("/api/admin/settings", "/api/flow_runs/00000000-0000-0000-0000-000000000000"):
            assert httpx.get(running.server.ui_url + path, auth=auth, trust_env=False).status_code == 401
        answer = httpx.post(f"{running.server.api_url}/flows/", json={"name": "mine"}, auth=auth, trust_env=False)
        assert answer.status_code == 401
    assert httpx.get(f"{running.server.api_url}/health", trust_env=False).status_code == 200
    assert file.stat().st_mode & 0o777 == 0o600
    assert load_auth(file) == running.server.auth == file.read_text().strip()
    assert get(running, "/ui-settings").json()["auth"] == "BASIC"


def test_the_login_page_is_served_and_its_key_stays_in_the_browser(running: Running) -> None:
    """The address with the key asks the server for a fixed page only: what follows `#` is never sent."""
    url = login_url(f"{running.server.ui_url}/runs/flow-run/1", running.server.auth)
    page, _, key = url.partition("#")
    answer = httpx.get(page, trust_env=False)
    assert answer.status_code == 200
    assert answer.text == LOGIN_PAGE
    assert base64.b64decode(unquote(key.partition("&")[0])).decode() == running.server.auth
    assert unquote(key.partition("&")[2]) == "/runs/flow-run/1"
    assert login_url("http://elsewhere:4200/runs", "") == "http://elsewhere:4200/runs"


def test_calls_that_come_at_once_wait_for_each_other(running: Running) -> None:
    """As shipped many of them are refused with 503, since they read before they write; each must be made, once."""
    flow = uuid.UUID(post(running, "/flows/", name="busy")["id"])

    async def make_many() -> list[uuid.UUID]:
        async with PrefectApi(running.server.api_url, auth=running.server.auth, timeout=PATIENCE) as api:
            made = (api.make_flow_run(flow, name=f"r{n}", version="1", tags=["jobd"], key=f"k{n}") for n in range(60))
            return await asyncio.gather(*made)

    assert len(set(running.do(make_many()))) == 60


def test_a_run_cancelled_in_the_dashboard_is_found_by_its_job(running: Running) -> None:
    """What the Cancel button sets is found, for jobd's runs only, until the run ends."""
    flow_run = make_flow_run(running, "j1", "jobd")
    strange = make_flow_run(running, "j2")

    async def cancel_and_finish() -> list[frozenset[str]]:
        async with PrefectApi(running.server.api_url, auth=running.server.auth) as api:
            found = [{run.job_id for run in await api.cancelling_runs()}]
            for run in (flow_run, strange):
                assert await api.set_flow_run_state(run, StateType.CANCELLING, force=True) == Verdict.ACCEPT
            found.append({run.job_id for run in await api.cancelling_runs()})
            await api.set_flow_run_state(flow_run, StateType.CANCELLED, message="as asked", force=True)
            found.append({run.job_id for run in await api.cancelling_runs()})
            assert (await api.flow_run(flow_run)).state_name == "Cancelled"
            assert [run.id for run in await api.flow_runs("j1")] == [flow_run]
            return found

    assert running.do(cancel_and_finish()) == [frozenset(), frozenset({"j1"}), frozenset()]


def test_all_task_runs_are_fetched_also_beyond_one_page(running: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    """Prefect gives a page at a time."""
    monkeypatch.setattr(prefect_api, "_PAGE", 2)
    flow_run = make_flow_run(running, "j3", "jobd")
    for number in range(5):
        name = f"t/{number}"
        post(running, "/task_runs/", flow_run_id=str(flow_run), task_key="t", dynamic_key=str(number), name=name)

    async def fetch() -> list[str]:
        async with PrefectApi(running.server.api_url, auth=running.server.auth) as api:
            return sorted(run.name for run in await api.task_runs(flow_run))

    assert running.do(fetch()) == ["t/0", "t/1", "t/2", "t/3", "t/4"]


def test_a_refused_call_says_what_and_where(running: Running) -> None:
    """An error of the server is one of ours, with the address and the answer."""

    async def ask() -> None:
        async with PrefectApi(running.server.api_url, auth=running.server.auth) as api:
            await api.flow_run(uuid.uuid4())

    with pytest.raises(PrefectApiError, match=r"GET http://127.0.0.1:\d+/api/flow_runs/.* was answered 404"):
        running.do(ask())


def test_another_server_is_watched_and_left_alone(running: Running) -> None:
    """A server that was given is ready while it answers, and its watcher's end changes nothing for it."""

    async def watch(url: str, *, ready: bool, auth: str = "") -> PrefectStatus:
        remote = RemotePrefect(api_url=url, auth=auth, log=LOG)
        task = asyncio.create_task(remote.run())
        await (remote.wait_ready() if ready else until(lambda: "cannot be used" in remote.status.reason))
        task.cancel()
        return remote.status

    away = running.do(watch(f"http://127.0.0.1:{free_port()}/api", ready=False))
    shut_out = running.do(watch(running.server.api_url, ready=False))
    assert running.do(watch(running.server.api_url, auth=running.server.auth, ready=True)).ready
    assert not away.ready
    assert "401" in shut_out.reason
    assert procfs.process(running.pid)


def test_a_server_that_hangs_is_not_ready_until_it_answers_again(running: Running) -> None:
    """A stopped process holds its port but serves nobody."""
    pid = running.pid
    os.kill(pid, signal.SIGSTOP)
    try:
        running.do(until(lambda: not running.server.status.ready))
        reason = running.server.status.reason
    finally:
        os.kill(pid, signal.SIGCONT)
    running.do(running.server.wait_ready())
    assert reason.startswith("Prefect's server does not answer (")
    assert running.pid == pid


def test_a_killed_server_comes_back_on_its_port_with_its_runs(running: Running) -> None:
    """The dashboard's address and the record survive the death of the server."""
    flow_run, pid, url = make_flow_run(running, "j4", "jobd"), running.pid, running.server.api_url
    os.kill(pid, signal.SIGKILL)
    running.do(until(lambda: not running.server.status.ready))
    reason = running.server.status.reason
    running.do(running.server.wait_ready())
    assert "ended with -9" in reason
    assert running.pid != pid
    answer = httpx.get(f"{url}/flow_runs/{flow_run}", auth=credentials(running.server.auth), trust_env=False)
    assert answer.json()["name"] == "a_flow-j4"


def test_a_server_that_hangs_for_good_is_replaced(running: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    """Silence beyond the limit ends the process, by force when it ignores the polite signal."""
    monkeypatch.setattr(prefect_server, "_SILENCE_LIMIT", 2.5)
    monkeypatch.setattr(prefect_server, "_STOP_GRACE", 0.2)
    running.do(until(lambda: running.server.status.ready))
    pid = running.pid
    os.kill(pid, signal.SIGSTOP)
    running.do(until(lambda: not session(pid)))
    running.do(running.server.wait_ready())
    assert running.pid != pid
    assert session(pid) == []


def test_a_taken_port_is_told_and_its_holder_is_not_mistaken_for_the_server(tmp_path: Path, running: Running) -> None:
    """Another Prefect on the port answers every question, and is still not ours."""
    port = int(running.server.ui_url.rpartition(":")[2])
    second = PrefectServer(directory=tmp_path, port=port, log=LOG)

    async def start() -> PrefectStatus:
        task = asyncio.create_task(second.run())
        await until(lambda: "taken" in second.status.reason)
        task.cancel()
        await asyncio.wait({task})
        return second.status

    with structlog.testing.capture_logs() as logs:
        running.do(start())
    reasons = [entry["reason"] for entry in logs if entry["event"] == "prefect_ended"]
    assert reasons == [f"port {port} of 127.0.0.1 is taken by another program; free it, or give --prefect-port"]
    assert procfs.process(running.pid)


@contextlib.contextmanager
def supervisor(directory: Path, template: Path) -> Iterator[tuple["subprocess.Popen[bytes]", int]]:
    """A daemon's supervision in a process of its own, once its server holds the port; give it and the server's pid."""
    command = [sys.executable, "-c", SUPERVISOR, str(directory), str(free_port()), str(template)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    server = None
    try:
        asyncio.run(until(lambda: read_pid_file(directory / "server.pid")))
        name = read_pid_file(directory / "server.pid")
        assert name is not None
        server = name.pid
        yield process, server
    finally:
        process.kill()
        process.wait()
        for pid in session(server) if server else ():
            os.kill(pid, signal.SIGKILL)


def test_the_server_ends_with_a_killed_daemon(tmp_path: Path, template: Path) -> None:
    """Nothing is left of the server when the daemon could not say goodbye."""
    with supervisor(tmp_path, template) as (daemon, server):
        daemon.kill()
        asyncio.run(until(lambda: not session(server)))


def test_what_a_killed_daemon_left_is_ended_by_the_next(tmp_path: Path) -> None:
    """A server that did not follow its daemon is found by its pid file, and ended by force after the grace."""
    file = tmp_path / "server.pid"
    with subprocess.Popen([sys.executable, "-c", STUBBORN, str(file)], start_new_session=True) as leftover:
        try:
            asyncio.run(until(file.exists))
            assert end_leftover(file, grace=0.2) == leftover.pid
            assert session(leftover.pid) == []
            assert leftover.wait() == -signal.SIGKILL
        finally:
            leftover.kill()


def test_a_process_that_only_has_the_pid_is_left_alone(tmp_path: Path) -> None:
    """A reused pid is not the server: the boot and the start time must match too."""
    own, boot = procfs.process(os.getpid()), procfs.boot_id()
    assert own is not None
    file = tmp_path / "server.pid"
    for words in (f"{boot} {own.pid} {own.start_ticks + 1}", f"another {own.pid} {own.start_ticks}", "", "nonsense"):
        file.write_text(words)
        assert end_leftover(file, grace=0.1) is None


def test_the_template_never_replaces_a_database(tmp_path: Path) -> None:
    """It is copied where there is none, and only then."""
    database, template = tmp_path / "prefect.db", tmp_path / "template.db"
    assert not place_template(database, template)
    template.write_bytes(b"migrated")
    assert place_template(database, template)
    assert database.read_bytes() == b"migrated"
    database.write_bytes(b"in use")
    assert not place_template(database, template)
    assert database.read_bytes() == b"in use"


def test_the_servers_output_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Much output is moved to a second file, under the feet of a server that appends to it."""
    monkeypatch.setattr(prefect_server, "_LOG_BYTES", 10)
    server = PrefectServer(directory=tmp_path, port=1, log=LOG)
    with (tmp_path / "server.log").open("ab", buffering=0) as output:
        output.write(b"a long line\n")
        server._bound_log()
        output.write(b"a line\n")
        server._bound_log()
    assert (tmp_path / "server.log.1").read_bytes() == b"a long line\n"
    assert (tmp_path / "server.log").read_bytes() == b"a line\n"


class Guarded(BaseHTTPRequestHandler):
    """A server with protection against forged requests, as somebody's Prefect may have it."""

    def do_GET(self) -> None:
        """Give out a token."""
        self._answer(200, {"token": "t0ken"})

    def do_POST(self) -> None:
        """Want the token."""
        self.rfile.read(int(self.headers["Content-Length"]))
        known = self.headers["Prefect-Csrf-Token"] == "t0ken" and self.headers["Prefect-Csrf-Client"]
        self._answer(*((200, []) if known else (403, {"detail": "Missing CSRF token."})))

    def _answer(self, status: int, content: object) -> None:
        body = json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args: object) -> None:
        """Say nothing."""


def test_a_server_that_wants_a_token_with_changes_gets_it() -> None:
    """Prefect's protection against forged requests is answered without being asked for."""
    with HTTPServer(("127.0.0.1", 0), Guarded) as http:
        thread = Thread(target=http.serve_forever)
        thread.start()

        async def ask() -> frozenset[str]:
            async with PrefectApi(f"http://127.0.0.1:{http.server_port}/api") as api:
                return {run.job_id for run in await api.cancelling_runs()}

        try:
            assert asyncio.run(ask()) == frozenset()
        finally:
            http.shutdown()
            thread.join()
