"""Who calls, and what they may do."""

from dataclasses import dataclass
from enum import StrEnum

LOCAL = "local"
"""The name of the user that runs the daemon: whoever can open its unix socket, or has its own token."""


class Role(StrEnum):
    """What a caller may do. Each role may do what those before it may."""

    READ = "read"
    """Look at everything: jobs, events, logs, artifacts, modules."""
    SUBMIT = "submit"
    """Submit jobs, and cancel, retry and delete those that were submitted under the same name."""
    ADMIN = "admin"
    """Do everything, with everybody's jobs."""

    def includes(self, other: "Role") -> bool:
        """Tell whether this role may do what `other` may."""
        ranks = tuple(Role)
        return ranks.index(self) >= ranks.index(other)


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """One caller, as it proved to be."""

    name: str
    """`local`, the name of a token, or `cert:` and the name in a client certificate. No two of them are alike."""
    role: Role
    """What it may do."""
    token: str = ""
    """The SHA-256 of the token by which it proved to be itself; empty where it did by other means."""

    def owns(self, owner: str) -> bool:
        """Tell whether it may end, retry and remove the jobs of `owner`; an empty owner is nobody."""
        return self.role is Role.ADMIN or (self.role.includes(Role.SUBMIT) and self.name == owner)


LOCAL_ADMIN = Identity(name=LOCAL, role=Role.ADMIN)
"""The user that runs the daemon."""
