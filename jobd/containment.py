"""What holds a module back beside its limits: what the operator decides, as plain data that runners are told."""

from dataclasses import dataclass
from enum import StrEnum

from jobd.plan import Model, PlanEntry, Sandbox


class SandboxPolicy(StrEnum):
    """Which entries run in a sandbox."""

    OFF = "off"
    """None, whatever their manifests ask for."""
    AUTO = "auto"
    """Those whose manifest asks for one."""
    REQUIRE = "require"
    """All."""


class User(Model):
    """A user of this machine."""

    name: str
    uid: int
    gid: int
    home: str


class Containment(Model):
    """What a runner has to know in order to hold its modules back."""

    secrets_dir: str = ""
    """The folder of the operator's secrets; empty where there is none."""
    user: User | None = None
    """As whom modules run; None for the daemon's own user."""
    hidden: tuple[str, ...] = ()
    """Folders and sockets that no module in a sandbox may see."""


NOTHING_ASKED = Containment()
"""What holds where the operator has said nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """What bounds an entry on this machine."""

    user: str = ""
    """As whom it runs; empty for the daemon's own user."""
    controllers: frozenset[str] = frozenset()
    """The cgroup controllers that there are for entries, of `memory` and `pids`; without them it is done by rlimits."""
    processes: int
    """How many processes an entry may have where they are counted."""
    open_files: int

    def describe(self, entry: PlanEntry) -> str:
        """Say for people how an entry is held back."""
        who = f" as the user {self.user}" if self.user else ""
        parts = [f"it runs{who} {_describe_sandbox(entry.sandbox)}", *self._limits(entry)]
        if entry.secrets:
            parts.append(f"it is given {', '.join(sorted(entry.secrets))} from the operator's secrets")
        return "; ".join(parts)

    def _limits(self, entry: PlanEntry) -> list[str]:
        memory = entry.resources.memory
        by_cgroup = "memory" in self.controllers
        how = "all its processes together, by cgroup" if by_cgroup else "each of its processes, by rlimit"
        found = [f"{memory} bytes of memory for {how}" if memory else "no limit of memory"]
        counted = "pids" in self.controllers
        found.append(
            f"{self.processes} processes, by cgroup" if counted else "any number of processes: no cgroup counts them"
        )
        found.append(f"{self.open_files} open files in a process, by rlimit")
        if entry.output_limit:
            found.append(f"{entry.output_limit} bytes of outputs, each file by rlimit")
        return found


def _describe_sandbox(sandbox: Sandbox | None) -> str:
    if sandbox is None:
        return "without a sandbox"
    return "in a sandbox with the network" if sandbox.network else "in a sandbox without the network"


@dataclass(frozen=True, slots=True, kw_only=True)
class Provisions:
    """What this daemon has to offer to entries, by which jobs are checked before they are taken."""

    sandbox: SandboxPolicy = SandboxPolicy.AUTO
    no_sandbox: str = ""
    """Why no sandbox can be made on this machine; empty where one can."""
    secrets: frozenset[str] = frozenset()
    """The names of the operator's secrets."""

    def sandbox_for(self, asked: Sandbox | None) -> Sandbox | None:
        """Give the sandbox of an entry whose manifest asks for this one; None where it gets none."""
        match self.sandbox:
            case SandboxPolicy.OFF:
                return None
            case SandboxPolicy.AUTO:
                return asked
            case SandboxPolicy.REQUIRE:
                return asked or Sandbox()
