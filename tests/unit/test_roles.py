"""Who may do what: the table of roles covers every call, and a role holds what it should."""

import pytest
from grpc_health.v1 import health_pb2
from grpc_reflection.v1alpha import reflection_pb2
from jobapi.v1 import artifact_service_pb2, job_service_pb2, module_service_pb2

from jobd.doors import read_certificate_roles
from jobd.errors import ConfigError
from jobd.identity import LOCAL_ADMIN, Identity, Role
from jobd.rpc.roles import ROLES, needed_role

CHANGING = {"Submit", "Cancel", "Retry", "Delete", "BeginUpload", "Upload"}


def methods() -> set[str]:
    """Name every method of every service that is served."""
    modules = (artifact_service_pb2, job_service_pb2, module_service_pb2, health_pb2, reflection_pb2)
    return {
        f"/{service.full_name}/{method.name}"
        for module in modules
        for service in module.DESCRIPTOR.services_by_name.values()
        for method in service.methods
    }


def test_every_call_has_its_role():
    """No method is left to chance, and the table names none that is not served."""
    assert set(ROLES) == methods()


def test_what_changes_something_needs_more_than_read():
    """With the role read nothing can be changed; only health is open to everybody."""
    for method, role in ROLES.items():
        name = method.rpartition("/")[2]
        assert (role is None) == method.startswith("/grpc.health")
        if name in CHANGING:
            assert role is Role.SUBMIT
        elif role is not None and name != "OpenDashboard":
            assert role is Role.READ


def test_a_call_that_nobody_thought_of_needs_an_admin():
    """A method that is missing from the table is closed, not open."""
    assert needed_role("/jobapi.v1.JobService/Explode") is Role.ADMIN


def test_each_role_includes_those_before_it():
    """The order is read, submit, admin."""
    included = {role: [other for other in Role if role.includes(other)] for role in Role}
    assert included == {
        Role.READ: [Role.READ],
        Role.SUBMIT: [Role.READ, Role.SUBMIT],
        Role.ADMIN: [Role.READ, Role.SUBMIT, Role.ADMIN],
    }


def test_a_job_belongs_to_its_submitter():
    """Its owner and admins may end it; others, readers of the same name, and owners of nothing may not."""
    ci = Identity(name="ci", role=Role.SUBMIT)
    assert ci.owns("ci")
    assert not any(ci.owns(owner) for owner in ("", "other", "CI", "cert:ci", "local"))
    assert not Identity(name="ci", role=Role.READ).owns("ci")
    assert not Identity(name="", role=Role.SUBMIT).owns("other")
    assert all(LOCAL_ADMIN.owns(owner) for owner in ("ci", "", "local"))


def test_certificates_have_a_role_by_name_or_by_default():
    """The default is submit; a name may have one of its own, and may hold any character."""
    assert read_certificate_roles([]).of("x") is Role.SUBMIT
    roles = read_certificate_roles(["read", "ops=admin", "spiffe://a/b=c=submit"])
    assert [roles.of(name) for name in ("x", "ops", "spiffe://a/b=c")] == [Role.READ, Role.ADMIN, Role.SUBMIT]


@pytest.mark.parametrize("text", ["", "root", "=read", "ops=", "ops=root", "ADMIN"])
def test_a_role_that_is_none_is_refused(text: str):
    """A misspelt role must not fall back to another."""
    with pytest.raises(ConfigError, match="read, submit, admin"):
        read_certificate_roles([text])
