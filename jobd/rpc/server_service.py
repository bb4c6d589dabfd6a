"""ServerService: what the daemon is."""

import asyncio
from time import time

from jobapi.v1 import job_service_pb2 as pb
from jobapi.v1 import job_service_pb2_grpc as pb_grpc

from jobd import __version__
from jobd.call_limits import MAX_MESSAGE_BYTES, CallLimits, list_limits
from jobd.prefect_login import login_url
from jobd.prefect_status import Prefect
from jobd.rpc import convert
from jobd.rpc.caller import caller
from jobd.rpc.context import Context
from jobd.states import JobState
from jobd.store import Store
from jobd.yaml_reader import MAX_BYTES


class ServerService(pb_grpc.ServerServiceServicer):
    """Tells of the daemon itself."""

    def __init__(self, *, prefect: Prefect, cpus: float, store: Store, limits: CallLimits) -> None:
        """Serve these."""
        self._prefect = prefect
        self._cpus = cpus
        self._store = store
        self._limits = list_limits(limits)
        self._started = time()

    async def GetServerInfo(self, _request: pb.GetServerInfoRequest, _context: Context) -> pb.GetServerInfoResponse:  # noqa: N802
        """Tell the daemon's version, limits and dashboard."""
        status = self._prefect.status
        return pb.GetServerInfoResponse(
            version=__version__,
            start_time=convert.timestamp(self._started),
            dashboard_url=self._prefect.ui_url,
            prefect_status="ready" if status.ready else status.reason,
            capacity_cpus=self._cpus,
            max_message_bytes=MAX_MESSAGE_BYTES,
            max_job_bytes=MAX_BYTES,
            queued_job_count=self._store.count(JobState.QUEUED),
            running_job_count=self._store.count(JobState.RUNNING) + self._store.count(JobState.CANCELLING),
            limits=[pb.Limit(name=item.name, value=item.value, unit=item.unit) for item in self._limits],
            caller=caller().name,
            role=caller().role,
        )

    async def OpenDashboard(self, request: pb.OpenDashboardRequest, _context: Context) -> pb.OpenDashboardResponse:  # noqa: N802
        """Give an address that opens the dashboard in a browser and lets it in."""
        url = self._prefect.ui_url
        if request.job_id:
            job_id = await asyncio.to_thread(self._store.resolve, request.job_id)
            job = await asyncio.to_thread(self._store.get, job_id)
            url = convert.run_url(url, job)
        return pb.OpenDashboardResponse(url=login_url(url, self._prefect.auth) if url else "")
