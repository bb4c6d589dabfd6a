"""What an operator's settings make of containment: checked once when the daemon starts, told to jobs and runners."""

import os
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from jobd import cgroup, other_user, sandbox
from jobd.containment import Bounds, Containment, Provisions, SandboxPolicy, User
from jobd.errors import ConfigError
from jobd.limits import OPEN_FILES, PROCESSES
from jobd.roots import Roots
from jobd.secret_store import SecretStore


@dataclass(frozen=True, slots=True, kw_only=True)
class Provisioning:
    """The settings, and what follows from them."""

    state: Path
    secrets_dir: Path
    policy: SandboxPolicy
    no_sandbox: str
    user: User | None
    allowed_roots: tuple[Path, ...]

    @property
    def roots(self) -> Roots:
        """Which files callers may name by path."""
        return Roots(self.allowed_roots, kept=(self.state, self.secrets_dir))

    def provisions(self) -> Provisions:
        """Give what there is for entries, as of now: secrets come and go."""
        names = SecretStore(self.secrets_dir).names()
        return Provisions(sandbox=self.policy, no_sandbox=self.no_sandbox, secrets=names)

    def containment(self, addresses: Iterable[str]) -> Containment:
        """Give what runners are told, where the daemon is served at these addresses."""
        sockets = (address.removeprefix("unix:") for address in addresses if address.startswith("unix:"))
        hidden = (str(self.secrets_dir), *sockets)
        return Containment(secrets_dir=str(self.secrets_dir), user=self.user, hidden=hidden)

    def bounds(self) -> Bounds:
        """Give what bounds entries here, for explanations."""
        home = cgroup.base()
        return Bounds(
            user=self.user.name if self.user else "",
            controllers=frozenset(cgroup.Cgroup(home).available() if home else ()),
            processes=PROCESSES,
            open_files=OPEN_FILES,
        )

    def describe(self) -> str:
        """Say for people how modules are held back."""
        kind = f"sandbox {self.policy}" + (f" (none can be made: {self.no_sandbox})" if self.no_sandbox else "")
        return f"{kind}; modules run as {self.user.name}" if self.user else kind


def provide(
    *,
    state: Path,
    modules: Sequence[Path],
    policy: SandboxPolicy,
    run_as: str,
    secrets_dir: Path | None,
    allowed_roots: Sequence[Path],
) -> Provisioning:
    """Check the settings against this machine; ConfigError says what of them cannot be had."""
    user = other_user.find_user(run_as) if run_as else None
    if user is not None:
        other_user.check_reach(user, (state, Path(sys.executable), *filter(os.path.exists, modules)))
    no_sandbox = "" if policy is SandboxPolicy.OFF else sandbox.missing()
    if policy is SandboxPolicy.REQUIRE and no_sandbox:
        raise ConfigError(f"--sandbox require: {no_sandbox}", hint="mend that, or choose --sandbox auto or off")
    return Provisioning(
        state=state,
        secrets_dir=secrets_dir or state / "secrets",
        policy=policy,
        no_sandbox=no_sandbox,
        user=user,
        allowed_roots=tuple(allowed_roots),
    )
