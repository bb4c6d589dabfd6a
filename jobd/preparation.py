"""Getting a job ready to be taken on: its inputs are copied and on disk, and everything else is known."""

import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from time import time

from jobd import events
from jobd.artifacts import ArtifactStore, Stored, copy_in, shares_blocks, sync_tree
from jobd.call_limits import check_labels
from jobd.errors import InvalidInputError, InvalidRequestError
from jobd.events import JobEvent, Occurrence
from jobd.input_copy import InputCopy
from jobd.jobs import new_job
from jobd.layout import StateDirectory, sync_directory
from jobd.plan import Plan, PlanInput
from jobd.reserve import Reserve
from jobd.retry import find_reuse
from jobd.roots import Caller, Roots
from jobd.store import Acceptance, Store
from jobd.trees import discard, tree_size
from jobd.uploads import Uploads

_ALPHABET = "abcdefghjkmnpqrstvwxyz23456789"
"""Without characters that are taken for each other."""
_ID_LENGTH = 12


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """Where an input's bytes come from: one of the two."""

    path: str = ""
    """An absolute path on this machine."""
    upload_id: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Submission:
    """What a client asks for."""

    document: bytes
    inputs: Mapping[str, Source]
    """By `param_name` or `name`."""
    request_id: str = ""
    priority: int | None = None
    labels: Mapping[str, str]
    owner: str = ""
    """Who asks for it, by the name of its identity."""
    caller: Caller
    """What it may name by path."""


class Preparation:
    """What turns what a client asks for into a job that the store can accept. All of it blocks."""

    def __init__(
        self, *, state: StateDirectory, store: Store, uploads: Uploads, reserve: Reserve, roots: Roots
    ) -> None:
        """Copy inputs from `roots` and `uploads`, as long as the disk has more free than `reserve`."""
        self._state = state
        self._store = store
        self._uploads = uploads
        self._reserve = reserve
        self._roots = roots

    def prepare(self, submission: Submission, plan: Plan, digest: str) -> Acceptance:
        """Copy the inputs of a new job; nothing stays of one for which that fails."""
        sources = match_inputs(plan, submission.inputs)
        plan = _adjusted(plan, submission)
        now = time()
        job = new_job(_new_id(), plan, submitted=now)
        folder = self._state.job(job.id).root
        try:
            stored = self._copy_inputs(job.id, sources, submission.caller)
        except BaseException:
            discard(folder)
            raise
        published = [
            events.ArtifactPublished(name=name, size_bytes=item.size_bytes, folder=item.folder)
            for name, item in stored.items()
        ]
        submitted = events.JobSubmitted(owner=submission.owner)
        return Acceptance(
            job=job,
            plan=plan,
            document=submission.document,
            request_id=submission.request_id,
            request_digest=digest,
            first=tuple(Occurrence(time=now, event=event) for event in (submitted, *published)),
        )

    def prepare_retry(self, job_id: str, request_id: str, digest: str, owner: str) -> Acceptance:
        """Copy what a new job takes over from one that has ended; nothing stays when that fails."""
        plan, old = self._store.plan(job_id), self._store.get(job_id)
        reuse = find_reuse(plan, old)
        self._reserve.check(self._room_of_copies(sum(old.artifact(name).size_bytes for name in reuse.artifacts)))
        now = time()
        job = new_job(_new_id(), plan, submitted=now, retry_of=job_id)
        directory = self._state.job(job.id)
        try:
            self._carry_over(job_id, job.id, reuse.artifacts)
        except BaseException:
            discard(directory.root)
            raise
        carried = [old.artifact(name) for name in reuse.artifacts]
        first: list[JobEvent] = [events.JobSubmitted(owner=owner)]
        first += [
            events.ArtifactPublished(name=item.name, size_bytes=item.size_bytes, folder=item.folder) for item in carried
        ]
        first += [events.EntryReused(step=step, entry=entry, job_id=job_id) for step, entry in reuse.entries]
        first += [
            events.ArtifactRemoved(name=name, reason=f"all that took it had succeeded in job {job_id}")
            for name in reuse.unneeded
        ]
        return Acceptance(
            job=job,
            plan=plan,
            document=self._store.document(job_id),
            request_id=request_id,
            request_digest=digest,
            first=tuple(Occurrence(time=now, event=event) for event in first),
        )

    def _carry_over(self, old_id: str, new_id: str, names: Sequence[str]) -> None:
        old, new = (ArtifactStore(self._state.job(job_id).artifacts) for job_id in (old_id, new_id))
        self._state.job(new_id).artifacts.mkdir(mode=0o700, parents=True)
        for name in names:
            copy_in(old.path(name), new.path(name))
        self._sync(new_id)

    def _sync(self, job_id: str) -> None:
        directory = self._state.job(job_id)
        for folder in (directory.artifacts, directory.root, self._state.jobs):
            sync_directory(folder)

    def _copy_inputs(self, job_id: str, sources: Mapping[str, Source], caller: Caller) -> dict[str, Stored]:
        """Copy every input under each of the names by which entries use it."""
        directory = self._state.job(job_id)
        self._reserve.check(sum(self._size(source, caller) for source in sources.values()))
        directory.artifacts.mkdir(mode=0o700, parents=True)
        store = ArtifactStore(directory.artifacts)
        stored = {name: self._copy(source, store.path(name), caller) for name, source in sources.items()}
        self._sync(job_id)
        return stored

    def _size(self, source: Source, caller: Caller) -> int:
        if source.upload_id:
            return self._room_of_copies(self._uploads.size(source.upload_id))
        path = self._roots.resolve(source.path, caller)
        try:
            return tree_size(path)
        except OSError as error:
            raise InvalidInputError(f"{path} cannot be read: {error.strerror or error}") from error

    def _room_of_copies(self, size: int) -> int:
        """Give how much room copies take of what the daemon keeps itself, which is on one file system."""
        return 0 if size and self._shares_blocks else size

    @cached_property
    def _shares_blocks(self) -> bool:
        return shares_blocks(self._state.root)

    def _copy(self, source: Source, target: Path, caller: Caller) -> Stored:
        if source.upload_id:
            stored = self._uploads.take(source.upload_id, target)
            sync_tree(target)
            return stored
        return InputCopy(self._roots, caller, check_room=self._reserve.check).copy(source.path, target)


def match_inputs(plan: Plan, given: Mapping[str, Source]) -> dict[str, Source]:
    """Say which source belongs to each artifact; InvalidInputError when one is missing, unknown or given twice."""
    found: dict[str, Source] = {}
    used: set[str] = set()
    missing = []
    for item in plan.inputs:
        names = [name for name in (item.name, item.param_name) if name in given]
        used.update(names)
        if names:
            found |= dict.fromkeys(item.artifact_names, given[names[0]])
        elif item.artifact_names:
            missing.append(item)
    unknown = sorted(given.keys() - used)
    if unknown:
        known = ", ".join(item.param_name for item in plan.inputs) or "none"
        raise InvalidInputError(f"the job has no input {unknown[0]!r}", hint=f"its inputs are: {known}")
    if missing:
        raise InvalidInputError("; ".join(map(_missing, missing)), hint=f"give --input {missing[0].param_name}=PATH")
    return found


def _missing(item: PlanInput) -> str:
    return f"the input {item.param_name!r} ({item.type}, used as {', '.join(item.artifact_names)}) is not given"


def _adjusted(plan: Plan, submission: Submission) -> Plan:
    priority = plan.priority if submission.priority is None else submission.priority
    if not -1000 <= priority <= 1000:
        raise InvalidRequestError(f"the priority {priority} is not between -1000 and 1000")
    labels = dict(plan.labels) | dict(submission.labels)
    check_labels(labels)
    return plan.model_copy(update={"priority": priority, "labels": labels})


def _new_id() -> str:
    return "".join(secrets.choice(_ALPHABET) for _ in range(_ID_LENGTH))
