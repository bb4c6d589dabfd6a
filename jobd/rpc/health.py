"""What probes are told: which services can do their work now."""

import asyncio
from collections.abc import Callable, Mapping
from time import monotonic

from grpc_health.v1 import health, health_pb2
from jobapi.v1 import artifact_service_pb2, job_service_pb2, module_service_pb2
from structlog.typing import FilteringBoundLogger

from jobd.errors import StorageError
from jobd.reserve import Reserve
from jobd.store import Store

_SERVING = health_pb2.HealthCheckResponse.SERVING
_NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING

SERVICES = tuple(
    descriptor.full_name
    for module in (job_service_pb2, artifact_service_pb2, module_service_pb2)
    for descriptor in module.DESCRIPTOR.services_by_name.values()
)
"""Every service of ours, by its full name."""

_WHOLE = ""
"""The name of the daemon as a whole."""
_STORING = ("jobapi.v1.JobService", "jobapi.v1.ArtifactService")
"""Services that take on what has to be written down."""
_LOOK_SECONDS = 3.0
_PROBE_SECONDS = 5.0
"""How often a store that refused a write is asked whether it takes one again, when nobody else writes."""


class Health:
    """Watches over the health of every service."""

    def __init__(self, *, store: Store, reserve: Reserve, log: FilteringBoundLogger) -> None:
        """Begin with nothing in service."""
        self.servicer = health.aio.HealthServicer()
        self._store = store
        self._reserve = reserve
        self._log = log
        self._told: Mapping[str, int] = {}
        self._probed = monotonic()

    async def run(self) -> None:
        """Tell of every change within seconds; until cancelled."""
        while True:
            await self.look()
            await asyncio.sleep(_LOOK_SECONDS)

    async def look(self) -> None:
        """See how things are, and tell what has changed."""
        trouble = self._store.trouble
        if trouble and monotonic() - self._probed >= _PROBE_SECONDS:
            self._probed = monotonic()
            await self._probe()
            trouble = self._store.trouble
        shortage = await asyncio.to_thread(_try, self._reserve.shortage)
        now = _judge(store_broken=bool(trouble), disk_short=bool(shortage))
        fallen = sorted(name or "all" for name, status in now.items() if status == _NOT_SERVING)
        if now != self._told and (fallen or self._told):
            self._log.info("health", not_serving=fallen, why=trouble or shortage)
        for name, status in now.items():
            if self._told.get(name) != status:
                await self.servicer.set(name, status)
        self._told = now

    async def drain(self) -> None:
        """Say from now on that nothing is served."""
        await self.servicer.enter_graceful_shutdown()

    async def _probe(self) -> None:
        try:
            await asyncio.wait_for(asyncio.wrap_future(self._store.probe()), _PROBE_SECONDS)
        except (StorageError, TimeoutError) as error:
            self._log.debug("store_still_refuses", error=str(error))


def _try(shortage: Callable[[], str]) -> str:
    try:
        return shortage()
    except OSError as error:
        return f"the disk does not answer: {error}"


def _judge(*, store_broken: bool, disk_short: bool) -> dict[str, int]:
    """Say which services work: a disk that is short takes no new work, one that refuses makes the daemon useless."""
    fallen = {_WHOLE, *_STORING} if store_broken else set(_STORING) if disk_short else set()
    return {name: _NOT_SERVING if name in fallen else _SERVING for name in (_WHOLE, *SERVICES)}
