"""The job file: its shape, and how its entries are wired together by the artifacts they make and use."""

from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Annotated, TypeVar

from pydantic import AfterValidator, Field

from jobd.document import Document, Mapping, Place, Sequence
from jobd.errors import Violation
from jobd.fields import (
    FileName,
    Flag,
    Format,
    Line,
    LogLimit,
    OptionName,
    OutputLimit,
    Retries,
    RetryOn,
    Text,
    Timeout,
    Whole,
)
from jobd.manifest import ResourceSpec
from jobd.names import FieldError, ascii_controls, shown, unique_names
from jobd.plan import LogOverflow

MAX_ENTRIES = 10_000

ItemT = TypeVar("ItemT")


def _check_some(items: tuple[ItemT, ...]) -> tuple[ItemT, ...]:
    if not items:
        raise FieldError("must not be empty", "write at least one item")
    return items


class JobInput(Format):
    """A file that the job's submitter gives; `name` ties it to one artifact name."""

    param_name: OptionName
    type: Line
    name: FileName = ""


class InputArtifact(Format):
    """An artifact that an entry uses, and the module's parameter it goes to."""

    name: FileName
    param_name: Line
    type: Line


class OutputArtifact(InputArtifact):
    """An artifact that an entry makes; a public one is kept after the job."""

    public: Flag = False


class EntrySpec(Format):
    """One run of a module. What is None here is as the module's manifest says."""

    module: Line
    name: FileName = ""
    input_artifacts: tuple[InputArtifact, ...] = ()
    output_artifacts: tuple[OutputArtifact, ...] = ()
    params: dict[Text, object] = Field(default_factory=dict)
    resources: ResourceSpec = ResourceSpec()
    timeout: Timeout | None = None
    silence: Timeout | None = None
    log_limit: LogLimit | None = None
    log_overflow: LogOverflow | None = None
    output_limit: OutputLimit | None = None
    retries: Retries | None = None
    retry_on: RetryOn | None = None


class StepSpec(Format):
    """Entries that run in parallel."""

    name: FileName
    entries: Annotated[tuple[EntrySpec, ...], AfterValidator(_check_some)]


class JobSpec(Format):
    """What a job file says. The timeout is that of the whole job, in seconds."""

    name: Line
    version: Line = ""
    input_artifacts: tuple[JobInput, ...] = ()
    steps: Annotated[tuple[StepSpec, ...], AfterValidator(_check_some)]
    labels: dict[Line, Text] = Field(default_factory=dict)
    priority: Annotated[Whole, Field(ge=-1000, le=1000)] = 0
    timeout: Timeout | None = None


def read_job(document: Document) -> tuple[JobSpec | None, list[Violation]]:
    """Read the job, which is None when more than unknown keys is wrong with its shape; and tell what is wrong."""
    count = sum(1 for _ in _raw_entries(document))
    if count > MAX_ENTRIES:
        hint = "split the job into smaller ones"
        return None, [document.violation(("steps",), f"the job has {count} entries, more than {MAX_ENTRIES}", hint)]
    return document.read(JobSpec)


def single_entries(document: Document) -> Iterator[tuple[Place, EntrySpec | None]]:
    """Give the entries of a job that cannot be read as a whole, None for one that cannot be read by itself either."""
    for place in _raw_entries(document):
        yield place, document.read(EntrySpec, place)[0]


def _raw_entries(document: Document) -> Iterator[Place]:
    root = document.root
    steps = root.get("steps") if isinstance(root, Mapping) else None
    for step_index, step in enumerate(steps if isinstance(steps, Sequence) else ()):
        entries = step.get("entries") if isinstance(step, Mapping) else None
        for entry_index in range(len(entries) if isinstance(entries, Sequence) else 0):
            yield "steps", step_index, "entries", entry_index


@dataclass(frozen=True, slots=True)
class Use:
    """An entry's making or using of an artifact: where it is written, and as what."""

    step: int
    entry: int
    place: Place
    artifact: InputArtifact


class Wiring:
    """Who makes each artifact, who uses it, and which ones the job's inputs stand for."""

    def __init__(self, spec: JobSpec, document: Document) -> None:
        """Wire the job, and note in `violations` what does not fit."""
        self.violations: list[Violation] = []
        self.entry_names = [unique_names((entry.name, entry.module) for entry in step.entries) for step in spec.steps]
        self.makers: dict[str, Use] = {}
        self.users: dict[str, list[Use]] = defaultdict(list)
        self.given: dict[str, int] = {}
        self._spec, self._document = spec, document
        self._named: dict[str, list[int]] = defaultdict(list)
        self._kinds: dict[tuple[str, str], list[int]] = defaultdict(list)
        self._check_names()
        self._collect()
        self._check_inputs()
        self._known = {*self.makers, *self._named}
        for name, users in self.users.items():
            if name in self.makers:
                self._check_made(self.makers[name], users)
            else:
                self._bind(name, users)

    def entry_name(self, use: Use) -> tuple[str, str]:
        """Give the names of the step and of the entry."""
        return self._spec.steps[use.step].name, self.entry_names[use.step][use.entry]

    def _found(self, place: Place, message: str, hint: str = "") -> None:
        self.violations.append(self._document.violation(place, message, hint))

    def _check_names(self) -> None:
        steps = [(("steps", index, "name"), step.name) for index, step in enumerate(self._spec.steps)]
        self._check_unique(steps, "step of this job")
        for index, step in enumerate(self._spec.steps):
            entries = enumerate(step.entries)
            named = [(("steps", index, "entries", at, "name"), entry.name) for at, entry in entries if entry.name]
            self._check_unique(named, "entry of this step")

    def _check_unique(self, named: Iterable[tuple[Place, str]], what: str) -> None:
        seen: dict[str, Place] = {}
        for place, name in named:
            if name in seen:
                first = self._document.line(seen[name])
                self._found(place, f"another {what} is called {shown(name)}", f"the first is on line {first}")
            seen.setdefault(name, place)

    def _collect(self) -> None:
        for step_index, step in enumerate(self._spec.steps):
            for entry_index, entry in enumerate(step.entries):
                place = ("steps", step_index, "entries", entry_index)
                for index, output in enumerate(entry.output_artifacts):
                    self._make(Use(step_index, entry_index, (*place, "output_artifacts", index), output))
                for index, item in enumerate(entry.input_artifacts):
                    use = Use(step_index, entry_index, (*place, "input_artifacts", index), item)
                    self.users[item.name].append(use)

    def _make(self, use: Use) -> None:
        name = use.artifact.name
        first = self.makers.setdefault(name, use)
        if first is not use:
            where = f"entry {_shown_entry(self.entry_name(first))} on line {self._document.line(first.place)}"
            self._found((*use.place, "name"), f"{shown(name)} is made twice", f"{where} makes it; choose another name")

    def _check_inputs(self) -> None:
        named = [(("input_artifacts", at, "name"), item.name) for at, item in enumerate(self._spec.input_artifacts)]
        named = [(place, name) for place, name in named if name]
        for index, item in enumerate(self._spec.input_artifacts):
            self._kinds[item.param_name, item.type].append(index)
            if item.name:
                self._named[item.name].append(index)
        self._check_unique(named, "input of this job")
        for place, name in named:
            if name in self.makers:
                maker = _shown_entry(self.entry_name(self.makers[name]))
                self._found(place, f"{shown(name)} is a job input and is also made by entry {maker}", "rename one")

    def _check_made(self, maker: Use, users: list[Use]) -> None:
        step, name = self._spec.steps[maker.step].name, self.entry_name(maker)[1]
        for user in users:
            artifact, place = shown(user.artifact.name), (*user.place, "name")
            if (user.step, user.entry) == (maker.step, maker.entry):
                self._found(place, f"{artifact} is made by this very entry", "an entry uses what earlier steps make")
            elif user.step == maker.step:
                hint = "the entries of a step run in parallel; move this one to a later step"
                self._found(place, f"{artifact} is made by entry {shown(name)} of this same step", hint)
            elif user.step < maker.step:
                hint = "steps run one after another; an entry uses what earlier steps make"
                self._found(place, f"{artifact} is made later, by entry {_shown_entry((step, name))}", hint)
            self._check_type(user, maker.artifact.type, f"entry {_shown_entry((step, name))} makes it as")

    def _check_type(self, user: Use, expected: str, who: str) -> None:
        if user.artifact.type != expected:
            message = f"{shown(user.artifact.name)} is used as type {shown(user.artifact.type)}"
            self._found((*user.place, "type"), f"{message}, but {who} {shown(expected)}", "both ends must agree")

    def _bind(self, name: str, users: list[Use]) -> None:
        matches = self._matching_inputs(name, users)
        if not matches:
            hint = self._hint_unbound(name, users[0].artifact)
            self._found((*users[0].place, "name"), f"no entry makes {shown(name)}, and no job input matches it", hint)
        elif len(matches) > 1:
            which = " and ".join(f"input_artifacts[{index}]" for index in sorted(matches)[:3])
            hint = "give the one that is meant a `name` that is equal to this one"
            self._found((*users[0].place, "name"), f"{shown(name)} could be {which}", hint)
        else:
            (self.given[name],) = matches
            for user in users:
                self._check_type(user, self._spec.input_artifacts[self.given[name]].type, "the job input is of type")

    def _matching_inputs(self, name: str, users: list[Use]) -> set[int]:
        wanted = {(user.artifact.param_name, user.artifact.type) for user in users}
        # Three show that it is ambiguous as well as thousands would.
        return set(self._named.get(name, [])[:3]) or {
            index for kind in wanted for index in self._kinds.get(kind, [])[:3]
        }

    def _hint_unbound(self, name: str, artifact: InputArtifact) -> str:
        free = self._spec.input_artifacts[:20]
        for item in free:
            if item.param_name == artifact.param_name and not item.name:
                return f"the job input {shown(item.param_name)} is of type {shown(item.type)}; both types must agree"
        mend = f"declare a job input with `param_name: {artifact.param_name}` and `type: {artifact.type}`"
        for item in free:
            if item.type == artifact.type and not item.name:
                mend = f"if the job input {shown(item.param_name)} is meant, give it `name: {ascii_controls(name)}`"
        near = self._document.nearest.match(name, self._known)
        return f"did you mean {shown(near, '`')}? or {mend}" if near else mend


def _shown_entry(names: tuple[str, str]) -> str:
    return shown("/".join(names))
