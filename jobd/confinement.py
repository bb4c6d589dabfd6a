"""How one attempt is held back: as whom it runs, what it sees, which secrets it is given, and who may read of them."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from jobd import masking, other_user, sandbox
from jobd.artifacts import OutputError
from jobd.containment import Containment
from jobd.errors import JobdError
from jobd.events import FailureKind
from jobd.limits import Limits, can_prefix
from jobd.masking import Mask, MaskedLog
from jobd.module_log import ModuleLog, tail
from jobd.plan import PlanEntry
from jobd.process import Exit
from jobd.secret_store import SecretError, SecretStore


class ConfinementError(JobdError):
    """The attempt cannot be held back as it must be, and so must not run."""

    reason = "CONFINEMENT"


@dataclass(frozen=True, slots=True, kw_only=True)
class Confinement:
    """What holds one attempt back. Each of its methods does nothing where nothing was asked for."""

    entry: PlanEntry
    containment: Containment
    state: Path
    """The state directory, none of which a module in a sandbox sees but its own files."""
    scratch: Path
    inputs: tuple[Path, ...]
    log: Path
    secrets: dict[str, str] = field(default_factory=dict, repr=False)
    """The values of its secrets by environment variable, once `prepare` was called."""

    @property
    def starts_cold(self) -> bool:
        """Whether its process has to be started as a program of its own, since a forked one could not be held so."""
        return self.entry.sandbox is not None or self.containment.user is not None

    def prepare(self) -> None:
        """Fetch the secrets and open the ways, before the start; SecretError, ConfinementError or OSError."""
        if self.entry.secrets:
            if not self.containment.secrets_dir:
                raise SecretError(f"it needs the secret {min(self.entry.secrets.values())!r}, and there are none here")
            self.secrets.update(SecretStore(Path(self.containment.secrets_dir)).read_all(self.entry.secrets))
            masking.prepare(self.log)
        if self.entry.sandbox is not None and (why := sandbox.missing()):
            raise ConfinementError(f"it must run in a sandbox, and none can be made: {why}")
        if self.entry.sandbox is not None:
            sandbox.make_room(self.scratch)
        if (user := self.containment.user) is not None:
            other_user.let_in(user, self.state, self.scratch, self.inputs)
            self._give_log()

    def command(self, words: Sequence[str], limits: Limits, *, data: bool) -> list[str]:
        """Give the command that runs this one, held back; with `data` its memory has to be limited by rlimits too."""
        user = self.containment.user
        bounds = limits.prefix(data=data) if self._born_limited else []
        inner = other_user.prefix(user) if user is not None else []
        if (kind := self.entry.sandbox) is None:
            return [*bounds, *inner, *words]
        place = self._place
        outer = sandbox.prefix(self.entry, kind, place, self.containment)
        return [*bounds, *outer, *inner, *sandbox.first_program(place), *words]

    def environment(self, variables: Mapping[str, str]) -> dict[str, str]:
        """Give the module's environment, with what is different for it and the secrets that it declares."""
        user = self.containment.user
        return {**variables, **(other_user.environment(user) if user is not None else {}), **self.secrets}

    def open_log(self) -> ModuleLog:
        """Give the way to read the log, which masks the secrets in it before anybody can."""
        if not self.secrets:
            return ModuleLog(self.log)
        return MaskedLog(self.log, Mask(self.secrets.values()), self.entry.log_limit)

    def read_exit(self, outside: Exit) -> Exit | None:
        """Give how the module ended, by how its outermost process did; None when it was never started."""
        return outside if self.entry.sandbox is None else sandbox.read_exit(self.scratch, outside, tail(self.log))

    def take_back(self) -> None:
        """Make what it made the daemon's own, once nothing of it lives; OutputError when that cannot be."""
        for folder in (self.scratch, self.scratch / "out"):
            # Through a link in its place, a module could have the daemon take what only the daemon may have.
            if folder.is_symlink() or (folder.exists() and not folder.is_dir()):
                raise OutputError(FailureKind.INVALID_OUTPUT, "the folder for its outputs is not the one it was given")
        if (user := self.containment.user) is not None and (self.scratch / "out").exists():
            other_user.take_back(user, self.scratch / "out")

    @property
    def _born_limited(self) -> bool:
        """Whether it is started under its limits, as another user's must be.

        Those in a sandbox are as well, where that can be done: they are grandchildren, and quicker than whoever looks
        for them on a busy machine.
        """
        return self.containment.user is not None or (self.entry.sandbox is not None and can_prefix())

    @property
    def _place(self) -> sandbox.Place:
        return sandbox.Place(scratch=self.scratch, cwd=self.scratch / "cwd", inputs=self.inputs, state=self.state)

    def _give_log(self) -> None:
        fd = os.open(self.log, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        try:
            if self.containment.user is not None:
                other_user.give_log(fd, self.containment.user)
        finally:
            os.close(fd)
