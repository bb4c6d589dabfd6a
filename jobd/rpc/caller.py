"""The caller of the call that is being served."""

from contextvars import ContextVar

from jobd.errors import NotOwnerError
from jobd.identity import Identity

CALLER: ContextVar[Identity] = ContextVar("jobd_caller")
"""Set by the interceptor for every call that was let in; each call is a task, and so a context, of its own."""


def caller() -> Identity:
    """Give who makes the call that is being served."""
    return CALLER.get()


def check_owner(job_id: str, owner: str) -> None:
    """Raise NotOwnerError unless the caller may end, retry and remove this job of `owner`."""
    if not caller().owns(owner):
        whose = f"{owner}'s" if owner else "of before jobs had owners"
        raise NotOwnerError(
            f"job {job_id} is {whose}, and {caller().name} is not its owner", hint="its owner or an admin can do it"
        )
