"""The role that each call needs: the one table of who may do what."""

from collections.abc import Mapping

from jobd.identity import Role

_JOBS, _ARTIFACTS = "/jobapi.v1.JobService/", "/jobapi.v1.ArtifactService/"
_MODULES, _SERVER = "/jobapi.v1.ModuleService/", "/jobapi.v1.ServerService/"

ROLES: Mapping[str, Role | None] = {
    _JOBS + "Submit": Role.SUBMIT,
    _JOBS + "Cancel": Role.SUBMIT,
    _JOBS + "Retry": Role.SUBMIT,
    _JOBS + "Delete": Role.SUBMIT,
    _JOBS + "Watch": Role.READ,
    _JOBS + "WatchJobs": Role.READ,
    _JOBS + "Get": Role.READ,
    _JOBS + "List": Role.READ,
    _JOBS + "Logs": Role.READ,
    _JOBS + "Explain": Role.READ,
    _JOBS + "Validate": Role.READ,
    _ARTIFACTS + "BeginUpload": Role.SUBMIT,
    _ARTIFACTS + "Upload": Role.SUBMIT,
    _ARTIFACTS + "Download": Role.READ,
    _MODULES + "ListModules": Role.READ,
    _SERVER + "GetServerInfo": Role.READ,
    # Whoever has the dashboard can cancel everybody's runs there, and with them their jobs.
    _SERVER + "OpenDashboard": Role.ADMIN,
    "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo": Role.READ,
    # For probes, which have no token: it tells nothing but that the daemon serves.
    "/grpc.health.v1.Health/Check": None,
    "/grpc.health.v1.Health/Watch": None,
}
"""The least role for each method; None for those that are open to everybody. Cancel, Retry and Delete need, of a job
of somebody else, an admin."""


def needed_role(method: str) -> Role | None:
    """Give the least role for a method, by its full name; of one that nobody thought of, an admin's."""
    return ROLES.get(method, Role.ADMIN)
