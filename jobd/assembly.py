"""The parts of a daemon, put together. Nothing is started here."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

from structlog.typing import FilteringBoundLogger

from jobd import reserve, tracing
from jobd.access import load_token
from jobd.audit import AuditLog
from jobd.bells import Bells
from jobd.capacity import gpu_ids
from jobd.catalog import Catalog
from jobd.config import Config
from jobd.doors import Doors
from jobd.errors import ConfigError
from jobd.flow_runs import FlowRuns
from jobd.ingest import Ingest
from jobd.launcher import Launcher
from jobd.layout import StateDirectory
from jobd.listening import check_exposure, choose_addresses
from jobd.nursery_client import NurseryClient
from jobd.plan import Capacity
from jobd.prefect_api import PrefectApi
from jobd.prefect_choice import choose_prefect
from jobd.prefect_server import RemotePrefect
from jobd.prefect_settings import client_environment
from jobd.prefect_status import Prefect
from jobd.provisioning import Provisioning, provide
from jobd.reserve import Reserve
from jobd.retention import Retention
from jobd.rpc.artifact_service import ArtifactService
from jobd.rpc.health import Health
from jobd.rpc.job_service import JobService
from jobd.rpc.module_service import ModuleService
from jobd.rpc.server import RpcServer
from jobd.rpc.server_service import ServerService
from jobd.rpc.watch import Watcher
from jobd.runner_lines import RunnerLines
from jobd.sampling import Sampler
from jobd.scheduler import Scheduler
from jobd.store import Store
from jobd.submission import Submissions
from jobd.supervisor import Supervisor
from jobd.telemetry import Telemetry
from jobd.tls import TlsKeeper
from jobd.tokens import TokenBook
from jobd.turns import Policy
from jobd.uploads import Uploads


@dataclass(frozen=True, slots=True, kw_only=True)
class Base:
    """What the other parts stand on."""

    config: Config
    state: StateDirectory
    log: FilteringBoundLogger
    addresses: Sequence[str]
    tls: TlsKeeper | None
    provisioning: Provisioning
    telemetry: Telemetry
    bells: Bells
    store: Store
    prefect: Prefect
    api: PrefectApi
    flow_runs: FlowRuns
    reserve: Reserve


@dataclass(frozen=True, slots=True, kw_only=True)
class Machinery:
    """What runs jobs."""

    ingest: Ingest
    scheduler: Scheduler
    supervisor: Supervisor
    nursery: NurseryClient
    retention: Retention


@dataclass(frozen=True, slots=True, kw_only=True)
class Front:
    """What serves clients."""

    submissions: Submissions
    watcher: Watcher
    health: Health
    server: RpcServer


async def lay_base(config: Config, state: StateDirectory, log: FilteringBoundLogger) -> Base:
    """Check the configuration against the machine and open the store; ConfigError says what does not fit."""
    addresses = choose_addresses(config.listen, state)
    tls = TlsKeeper(config.tls, log) if config.tls else None
    check_exposure(addresses, tls=tls is not None, insecure=config.insecure)
    provisioning = await asyncio.to_thread(_provide, config, state, log)
    bells = Bells()
    telemetry = Telemetry(log, metrics=config.metrics, tracing=tracing.begin(config.tracing, state, log))
    store = Store(
        state.database, changed=bells.ring_from_thread, told=telemetry.tell, measured=telemetry.measure_commit
    )
    prefect = await choose_prefect(config, state, log)
    prefect.needed = lambda: store.live_count() > 0
    api = PrefectApi(prefect.api_url, auth=prefect.auth, key=prefect.key)
    return Base(
        config=config,
        state=state,
        log=log,
        addresses=addresses,
        tls=tls,
        provisioning=provisioning,
        telemetry=telemetry,
        bells=bells,
        store=store,
        prefect=prefect,
        api=api,
        flow_runs=FlowRuns(api),
        reserve=reserve.Reserve(state.root, config.reserve),
    )


def build_machinery(base: Base) -> Machinery:
    """Put together what runs jobs; ConfigError when the capacity is not there."""
    config, state, store, prefect, log = base.config, base.state, base.store, base.prefect, base.log
    scheduler = Scheduler(
        config.capacity,
        policy=Policy(most_active=config.most_active, ageing=config.ageing),
        gpu_ids=_gpu_ids(config.capacity),
    )
    launcher = Launcher(
        state=state,
        store=store,
        scheduler=scheduler,
        prefect=prefect,
        prefect_grace=config.prefect_grace,
        cpus=config.capacity.cpus,
        containment=base.provisioning.containment(base.addresses),
        flow_runs=base.flow_runs,
        log=log,
    )
    ingest = Ingest(state, store, log)
    supervisor = Supervisor(state=state, store=store, ingest=ingest, scheduler=scheduler, launcher=launcher, log=log)
    supervisor.lines = RunnerLines(
        state, scheduler, connected=supervisor.connected, hung_up=supervisor.hung_up, log=log
    )
    launcher.nursery = NurseryClient(
        state.root,
        env=client_environment(
            prefect.api_url, prefect.auth, state.prefect / "client", remote=isinstance(prefect, RemotePrefect)
        ),
        runner_ended=supervisor.runner_ended,
        log=log,
    )
    return Machinery(
        ingest=ingest,
        scheduler=scheduler,
        supervisor=supervisor,
        nursery=launcher.nursery,
        retention=Retention(state=state, store=store, policy=config.retention, supervised=supervisor.holds, log=log),
    )


def build_front(base: Base, machinery: Machinery) -> Front:
    """Put together what serves clients."""
    config, state, store, prefect, log = base.config, base.state, base.store, base.prefect, base.log
    catalog, uploads = Catalog(config.modules), Uploads(state.uploads, base.reserve)
    submissions = Submissions(
        state=state,
        store=store,
        catalog=catalog,
        uploads=uploads,
        capacity=config.capacity,
        reserve=base.reserve,
        limits=config.call_limits,
        roots=base.provisioning.roots,
        provisions=base.provisioning.provisions,
    )
    watcher = Watcher(store, base.bells, dashboard_url=prefect.ui_url)
    health = Health(store=store, reserve=base.reserve, log=log)
    server = RpcServer(
        jobs=JobService(
            store=store,
            submissions=submissions,
            supervisor=machinery.supervisor,
            watcher=watcher,
            state=state,
            dashboard_url=prefect.ui_url,
            bounds=base.provisioning.bounds(),
        ),
        artifacts=ArtifactService(store=store, state=state, uploads=uploads),
        modules=ModuleService(catalog),
        server=ServerService(prefect=prefect, cpus=config.capacity.cpus, store=store, limits=config.call_limits),
        doors=Doors(
            token=load_token(state), book=TokenBook(state.tokens), certificates=config.certificate_roles, log=log
        ),
        limits=config.call_limits,
        tls=base.tls,
        audit=AuditLog(state.audit, log=log),
        health=health,
        telemetry=base.telemetry,
        log=log,
    )
    return Front(submissions=submissions, watcher=watcher, health=health, server=server)


def open_telemetry(base: Base, machinery: Machinery) -> None:
    """Begin to tell how things are, to those who asked for it."""
    sampler = Sampler(
        store=base.store,
        scheduler=machinery.scheduler,
        capacity=base.config.capacity,
        prefect=base.prefect,
        reserve=base.reserve,
        nursery=machinery.nursery,
        watches=lambda: base.telemetry.watches,
    )
    base.telemetry.open(base.store, sampler)


def _provide(config: Config, state: StateDirectory, log: FilteringBoundLogger) -> Provisioning:
    found = provide(
        state=state.root,
        modules=config.modules,
        policy=config.sandbox,
        run_as=config.run_as,
        secrets_dir=config.secrets_dir,
        allowed_roots=config.allow_root,
    )
    log.info("provisions", how=found.describe())
    return found


def _gpu_ids(capacity: Capacity) -> Sequence[str]:
    try:
        return gpu_ids(capacity)
    except ValueError as error:
        raise ConfigError(f"the capacity is not there: {error}", hint="see `jobd serve --capacity`") from error
