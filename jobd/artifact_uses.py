"""Which artifacts of a job are there, and which of them nobody needs any more."""

import threading
from collections.abc import Container, Iterable

from jobd.plan import Plan, PlanEntry


class ArtifactUses:
    """Who has yet to use what. Any thread may call it; what it gives up is given once."""

    def __init__(self, plan: Plan, *, present: Iterable[str], ended: Container[tuple[str, str]]) -> None:
        """Begin with what is present; entries that have `ended`, by step and name, use nothing any more."""
        self._lock = threading.Lock()
        self._present = set(present)
        self._public = {artifact.name for artifact in plan.artifacts if artifact.public}
        self._users = {
            artifact.name: {user for user in artifact.consumers if user not in ended} for artifact in plan.artifacts
        }

    def note_success(self, entry: PlanEntry, made: Iterable[str]) -> None:
        """Note what an entry has made, and that it has used what it took."""
        with self._lock:
            self._present.update(made)
            for binding in entry.inputs:
                for name in binding.artifacts:
                    self._users[name].discard((entry.step, entry.name))

    def give_up_unneeded(self, used: Iterable[str]) -> list[str]:
        """Give up, of these, what is not public and has had all its users."""
        with self._lock:
            names = [
                name
                for name in dict.fromkeys(used)
                if name in self._present and name not in self._public and not self._users[name]
            ]
            self._present.difference_update(names)
        return names

    def give_up_rest(self) -> list[str]:
        """Give up all that is not public."""
        with self._lock:
            names = sorted(self._present - self._public)
            self._present.difference_update(names)
        return names
