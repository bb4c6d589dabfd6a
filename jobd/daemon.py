"""The daemon: the only place that puts the parts together."""

import asyncio
import contextlib
import os
import signal
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from functools import partial
from pathlib import Path

import structlog
from structlog.typing import FilteringBoundLogger

from jobd import __version__, cgroup, job_cgroup, reserve, state_lock
from jobd.access import AccessFile, load_token
from jobd.audit import AuditLog
from jobd.bells import Bells
from jobd.catalog import Catalog
from jobd.config import Config
from jobd.dashboard_cancels import watch_cancels
from jobd.errors import ConfigError
from jobd.ingest import Ingest
from jobd.launcher import Launcher
from jobd.layout import StateDirectory, write_durably
from jobd.nursery_client import NurseryClient
from jobd.prefect_api import PrefectApi
from jobd.prefect_pidfile import end_leftover
from jobd.prefect_server import PrefectServer, RemotePrefect
from jobd.prefect_status import Prefect
from jobd.recorder import Recorder
from jobd.retention import Retention
from jobd.rpc.artifact_service import ArtifactService
from jobd.rpc.job_service import JobService
from jobd.rpc.module_service import ModuleService
from jobd.rpc.server import RpcServer
from jobd.rpc.server_service import ServerService
from jobd.rpc.watch import Watcher
from jobd.runner_lines import RunnerLines
from jobd.scheduler import Scheduler
from jobd.store import Store
from jobd.submission import Submissions
from jobd.supervisor import Supervisor
from jobd.uploads import Uploads

_GRACE_SECONDS = 10.0
"""How long calls may go on while the daemon shuts down."""
_AGAIN_SECONDS = 5.0
_DEFAULT_TCP = "127.0.0.1:50051"


async def serve(config: Config) -> None:
    """Serve until SIGTERM or SIGINT. Running jobs go on without the daemon, and the next one takes them back."""
    log: FilteringBoundLogger = structlog.get_logger()
    state = StateDirectory(config.state_dir)
    state.make()
    with state_lock.hold(state):
        cgroup.step_aside()  # before anything is started
        log.info("containment", how=job_cgroup.describe())
        stop = _stop_on_signals()
        async with _running(config, state, log):
            await stop.wait()
            log.info("stopping")
    log.info("stopped")


@contextlib.asynccontextmanager
async def _running(config: Config, state: StateDirectory, log: FilteringBoundLogger) -> AsyncIterator[None]:
    bells = Bells()
    store = Store(state.database, changed=bells.ring_from_thread)
    await _end_leftover_server(state, log)
    prefect = _prefect(config, state, log)
    api = PrefectApi(prefect.api_url, auth=_secret("AUTH_STRING"), key=_secret("KEY"))
    catalog = Catalog(config.modules)
    disk_reserve = reserve.Reserve(state.root, config.reserve)
    uploads = Uploads(state.uploads, disk_reserve)
    ingest = Ingest(state, store, log)
    scheduler = Scheduler(config.capacity)
    launcher = Launcher(
        state=state,
        store=store,
        scheduler=scheduler,
        prefect=prefect,
        prefect_grace=config.prefect_grace,
        cpus=config.capacity.cpus,
        log=log,
    )
    supervisor = Supervisor(state=state, store=store, ingest=ingest, scheduler=scheduler, launcher=launcher, log=log)
    submissions = Submissions(
        state=state, store=store, catalog=catalog, uploads=uploads, capacity=config.capacity, reserve=disk_reserve
    )
    retention = Retention(state=state, store=store, policy=config.retention, supervised=supervisor.holds, log=log)
    watcher = Watcher(store, bells, dashboard_url=prefect.ui_url)
    supervisor.lines = RunnerLines(
        state, scheduler, connected=supervisor.connected, hung_up=supervisor.hung_up, log=log
    )
    launcher.nursery = NurseryClient(
        state.root,
        env=nursery_environment(prefect.api_url, state.prefect / "client", remote=isinstance(prefect, RemotePrefect)),
        runner_ended=supervisor.runner_ended,
        log=log,
    )
    server = RpcServer(
        jobs=JobService(
            store=store,
            submissions=submissions,
            supervisor=supervisor,
            watcher=watcher,
            state=state,
            dashboard_url=prefect.ui_url,
        ),
        artifacts=ArtifactService(store=store, state=state, uploads=uploads),
        modules=ModuleService(catalog),
        server=ServerService(prefect=prefect, cpus=config.capacity.cpus, count=store.count),
        token=load_token(state),
        audit=AuditLog(state.audit, log=log),
        log=log,
    )
    addresses = _addresses(config, state)
    await asyncio.to_thread(job_cgroup.remove_abandoned)
    submissions.remove_strays()
    bell = ingest.listen()
    await supervisor.lines.open()
    await supervisor.take_back()
    addresses = await server.start(addresses)
    access = AccessFile(state, addresses)
    access.write(log)
    log.info("serving", version=__version__, addresses=addresses, state_dir=str(state.root), dashboard=prefect.ui_url)
    works: dict[str, Callable[[], Awaitable[None]]] = {
        "prefect": prefect.run,
        "nursery": launcher.nursery.run,
        "supervisor": supervisor.watch,
        "cancels": partial(watch_cancels, prefect=prefect, api=api, store=store, cancel=supervisor.cancel, log=log),
        "recorder": Recorder(prefect=prefect, api=api, store=store, log=log).run,
        "retention": retention.run,
        "reserve": partial(reserve.keep, disk_reserve, hold_back=scheduler.hold_back, resume=scheduler.resume, log=log),
    }
    tasks = [asyncio.create_task(_keep_going(name, work, log)) for name, work in works.items()]
    try:
        yield
    finally:
        access.remove()
        watcher.drain()
        await server.stop(_GRACE_SECONDS)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await supervisor.close()
        await api.close()
        await supervisor.lines.close()
        asyncio.get_running_loop().remove_reader(bell)
        bell.close()
        await asyncio.to_thread(store.close)


async def _keep_going(name: str, work: Callable[[], Awaitable[None]], log: FilteringBoundLogger) -> None:
    """Do a work that has no end, and begin it anew should it break down, until cancelled."""
    while True:
        try:
            await work()
        except Exception:
            log.exception("work_broke_down", work=name, again_seconds=_AGAIN_SECONDS)
        await asyncio.sleep(_AGAIN_SECONDS)


def _stop_on_signals() -> asyncio.Event:
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    return stop


async def _end_leftover_server(state: StateDirectory, log: FilteringBoundLogger) -> None:
    """End the Prefect server of a daemon that was killed, before its port is asked for again."""
    pid = await asyncio.to_thread(end_leftover, state.prefect / "server.pid", grace=_GRACE_SECONDS)
    if pid is not None:
        log.warning("prefect_leftover_ended", pid=pid)


def _prefect(config: Config, state: StateDirectory, log: FilteringBoundLogger) -> Prefect:
    url = config.prefect_api_url or os.environ.get("PREFECT_API_URL", "")
    if url:
        return RemotePrefect(api_url=url, log=log, auth=_secret("AUTH_STRING"), key=_secret("KEY"))
    return PrefectServer(directory=state.prefect, port=_server_port(config.prefect_port, state, log), log=log)


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


def _addresses(config: Config, state: StateDirectory) -> Sequence[str]:
    addresses = config.listen or (f"unix:{_default_socket(state)}", _DEFAULT_TCP)
    for address in addresses:
        if address.startswith("unix:"):
            _prepare_socket(Path(address.removeprefix("unix:")))
    return addresses


def _default_socket(state: StateDirectory) -> Path:
    runtime = os.environ.get("XDG_RUNTIME_DIR")
    return Path(runtime, "jobd", "jobd.sock") if runtime else state.root / "jobd.sock"


def _prepare_socket(path: Path) -> None:
    """Make the socket's folder, and refuse a path that is too long or that a living daemon serves."""
    if len(os.fsencode(path)) > 107:
        raise ConfigError(
            f"the socket's path {path} is longer than the 107 bytes that a socket can have",
            hint="choose a shorter one with --listen unix:PATH",
        )
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with socket.socket(socket.AF_UNIX) as probe:
        try:
            probe.connect(str(path))
        except FileNotFoundError:
            return
        except ConnectionRefusedError:
            path.unlink()
            return
    raise ConfigError(f"another daemon serves {path}", hint="stop it, or choose another address with --listen")


def nursery_environment(api_url: str, home: Path, *, remote: bool) -> dict[str, str]:
    """Give the environment of the nursery, and so of every runner: the daemon's, with Prefect's settings of ours."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PREFECT_", "GRPC_"))}
    secrets = {name: os.environ[name] for name in ("PREFECT_API_KEY", "PREFECT_API_AUTH_STRING") if name in os.environ}
    return (
        kept
        | secrets
        | {
            "PREFECT_API_URL": api_url,
            "PREFECT_HOME": str(home),  # not the user's own, whose profiles would change how jobs run
            # A flow without an API must fail instead of starting a second server by itself.
            "PREFECT_SERVER_EPHEMERAL_ENABLED": "false",
            "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
            "DO_NOT_TRACK": "1",
            # A call less at the start of every run; the embedded server is guarded by other means.
            **({} if remote else {"PREFECT_CLIENT_CSRF_SUPPORT_ENABLED": "false"}),
            "PREFECT_RESULTS_PERSIST_BY_DEFAULT": "false",
            # Waits of 2, 4 and 8 s; with the default of five retries an absent server would hold a runner for minutes.
            "PREFECT_CLIENT_MAX_RETRIES": "3",
            "PREFECT_LOGGING_LEVEL": "INFO",
            "PREFECT_LOGGING_COLORS": "false",
            "PREFECT_EVENTS_WORKER_MAX_QUEUE_SIZE": "100000",
        }
    )
