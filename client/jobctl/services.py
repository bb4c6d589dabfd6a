"""The daemon's services, as a client calls them."""

import grpc
from jobapi.v1 import artifact_service_pb2_grpc, job_service_pb2_grpc, module_service_pb2_grpc


class Services:
    """The stubs of all services on one channel; on a channel of `grpc.aio` their methods are to be awaited."""

    def __init__(self, channel: grpc.Channel) -> None:
        """Make the stubs."""
        self.jobs = job_service_pb2_grpc.JobServiceStub(channel)
        self.artifacts = artifact_service_pb2_grpc.ArtifactServiceStub(channel)
        self.modules = module_service_pb2_grpc.ModuleServiceStub(channel)
        self.server = job_service_pb2_grpc.ServerServiceStub(channel)
