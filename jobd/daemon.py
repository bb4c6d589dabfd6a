"""The daemon's life: its parts are put together, started in the right order, kept going and ended."""

import asyncio
import contextlib
import gc
import os
import signal
import sys
import threading
import traceback
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from functools import partial

import structlog
from structlog.typing import FilteringBoundLogger

from jobd import __version__, cgroup, job_cgroup, processor_share, reserve, state_lock, systemd
from jobd.access import AccessFile
from jobd.assembly import Base, Front, Machinery, build_front, build_machinery, lay_base, open_telemetry
from jobd.config import Config
from jobd.dashboard_cancels import watch_cancels
from jobd.errors import StorageError
from jobd.layout import StateDirectory
from jobd.listening import prepare_sockets
from jobd.recorder_client import RecorderClient
from jobd.store import Store
from jobd.telemetry import Telemetry

_GRACE_SECONDS = 10.0
"""How long calls may go on while the daemon shuts down."""
_AGAIN_SECONDS = 5.0
_LINGER_SECONDS = 15.0
"""How long threads may still be at work after that."""
_frames = sys._current_frames  # noqa: SLF001 - the documented way to see what other threads do

_Works = Mapping[str, Callable[[], Awaitable[None]]]


async def serve(config: Config) -> None:
    """Serve until SIGTERM or SIGINT. Running jobs go on without the daemon, and the next one takes them back."""
    log: FilteringBoundLogger = structlog.get_logger()
    manager = systemd.Manager(log)
    state = StateDirectory(config.state_dir)
    state.make()
    with state_lock.hold(state):
        cgroup.step_aside()  # before anything is started
        log.info("containment", how=job_cgroup.describe())
        log.info("processor_share", before_jobs=processor_share.take_more())
        stop = _stop_on_signals()
        async with _running(config, state, manager, log):
            await stop.wait()
            log.info("stopping")
            manager.stopping()
        # Before the lock is let go: no thread of this daemon may touch a job that the next one has taken on.
        with _leaving_at_last(log):
            await asyncio.get_running_loop().shutdown_default_executor()
    log.info("stopped")


@contextlib.contextmanager
def _leaving_at_last(log: FilteringBoundLogger) -> Iterator[None]:
    """End this process, should the block take too long, whatever its threads wait for: all that counts is on disk."""

    def leave() -> None:
        names = {thread.ident: thread.name for thread in threading.enumerate()}
        stacks = {names.get(ident, "?"): traceback.format_stack(frame)[-3:] for ident, frame in _frames().items()}
        log.warning("threads_left", seconds=_LINGER_SECONDS, stacks=stacks)
        os._exit(0)

    timer = threading.Timer(_LINGER_SECONDS, leave)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


@contextlib.asynccontextmanager
async def _running(
    config: Config, state: StateDirectory, manager: systemd.Manager, log: FilteringBoundLogger
) -> AsyncIterator[None]:
    base = await lay_base(config, state, log)
    machinery = build_machinery(base)
    front = build_front(base, machinery)
    open_telemetry(base, machinery)
    prepare_sockets(base.addresses)
    works = _works(base, machinery, front, manager)
    async with _taking_back(base, machinery, front), _serving(base, front) as addresses, _at_work(works, log):
        # What is here now is here to stay. A collection that went through it each time would hold up every call.
        gc.collect()
        gc.freeze()
        manager.ready(f"serving {' '.join(addresses)}")
        try:
            yield
        finally:
            front.watcher.drain()
            await front.server.stop(_GRACE_SECONDS)


@contextlib.asynccontextmanager
async def _taking_back(base: Base, machinery: Machinery, front: Front) -> AsyncIterator[None]:
    """Take on what an earlier daemon left, before anybody can ask; at the end, leave the runners to the next one."""
    await asyncio.to_thread(job_cgroup.remove_abandoned)
    front.submissions.remove_strays()
    bell = machinery.ingest.listen()
    await machinery.supervisor.take_back()
    # Only now: what a runner holds and wants is said once, and would be lost if its job were not known yet.
    await machinery.supervisor.lines.open()
    try:
        yield
    finally:
        await machinery.supervisor.close()
        await base.api.close()
        await machinery.supervisor.lines.close()
        asyncio.get_running_loop().remove_reader(bell)
        bell.close()
        await asyncio.to_thread(_close_behind, base.store, base.telemetry)


@contextlib.asynccontextmanager
async def _serving(base: Base, front: Front) -> AsyncIterator[list[str]]:
    """Serve clients, and tell those on this machine where."""
    addresses = await front.server.start(base.addresses)
    access = AccessFile(base.state, addresses)
    access.write(base.log)
    base.log.info(
        "serving",
        version=__version__,
        addresses=addresses,
        state_dir=str(base.state.root),
        dashboard=base.prefect.ui_url,
    )
    try:
        yield list(addresses)
    finally:
        access.remove()


def _works(base: Base, machinery: Machinery, front: Front, manager: systemd.Manager) -> _Works:
    """Name the works that have no end."""
    prefect, api, store, log = base.prefect, base.api, base.store, base.log
    hold_back, resume = machinery.scheduler.hold_back, machinery.scheduler.resume
    return {
        "prefect": prefect.run,
        "nursery": machinery.nursery.run,
        "supervisor": machinery.supervisor.watch,
        "cancels": partial(
            watch_cancels, prefect=prefect, api=api, store=store, cancel=machinery.supervisor.cancel, log=log
        ),
        "recorder": RecorderClient(state=base.state, prefect=prefect, store=store, log=log).run,
        "retention": machinery.retention.run,
        "health": front.health.run,
        "watchdog": partial(manager.keep_alive, partial(_await_writer, store)),
        "reserve": partial(reserve.keep, base.reserve, hold_back=hold_back, resume=resume, log=log),
    }


@contextlib.asynccontextmanager
async def _at_work(works: _Works, log: FilteringBoundLogger) -> AsyncIterator[None]:
    """Have these works done within the block."""
    tasks = [asyncio.create_task(_keep_going(name, work, log)) for name, work in works.items()]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _keep_going(name: str, work: Callable[[], Awaitable[None]], log: FilteringBoundLogger) -> None:
    """Do a work that has no end, and begin it anew should it break down, until cancelled."""
    while True:
        try:
            await work()
        except Exception:
            log.exception("work_broke_down", work=name, again_seconds=_AGAIN_SECONDS)
        await asyncio.sleep(_AGAIN_SECONDS)


async def _await_writer(store: Store) -> None:
    """Return when the store's writer has come round; a disk that it cannot write to is no reason to start anew."""
    with contextlib.suppress(StorageError):
        await asyncio.wrap_future(store.answer())


def _close_behind(store: Store, telemetry: Telemetry) -> None:
    """Write down and send what is left."""
    store.close()
    telemetry.close()


def _stop_on_signals() -> asyncio.Event:
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    return stop
