"""ServerService: what the daemon is."""

from collections.abc import Callable
from time import time

from jobapi.v1 import job_service_pb2 as pb
from jobapi.v1 import job_service_pb2_grpc as pb_grpc

from jobd import __version__
from jobd.document import MAX_BYTES
from jobd.prefect_status import Prefect
from jobd.rpc import convert
from jobd.rpc.context import Context
from jobd.states import JobState

MAX_MESSAGE_BYTES = 4 << 20
"""gRPC's own default, which clients of every language have too."""


class ServerService(pb_grpc.ServerServiceServicer):
    """Tells of the daemon itself."""

    def __init__(self, *, prefect: Prefect, cpus: float, count: Callable[[JobState], int]) -> None:
        """Serve these; `count` counts the jobs in a state."""
        self._prefect = prefect
        self._cpus = cpus
        self._count = count
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
            queued_job_count=self._count(JobState.QUEUED),
            running_job_count=self._count(JobState.RUNNING) + self._count(JobState.CANCELLING),
        )
