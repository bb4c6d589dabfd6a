"""The plan step: a job file resolved against the modules, and checked in full."""

import math
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NoReturn, TypeVar

from jobd.catalog import BrokenModule, Module
from jobd.containment import Provisions
from jobd.document import Document, Place
from jobd.errors import InvalidDocumentError, InvalidJobError, Violation
from jobd.manifest import ModuleInput, ModuleOutput
from jobd.names import FieldError, shown
from jobd.plan import Binding, Capacity, Plan, PlanArtifact, PlanEntry, PlanInput, PlanStep, Resources, Sandbox
from jobd.spec import EntrySpec, InputArtifact, JobSpec, OutputArtifact, Wiring, read_job, single_entries
from jobd.yaml_reader import read_document

MAX_VIOLATIONS = 1000

ValueT = TypeVar("ValueT")


def make_plan(
    text: bytes,
    modules: Mapping[str, Module],
    capacity: Capacity,
    broken: tuple[BrokenModule, ...] = (),
    provisions: Provisions | None = None,
) -> Plan:
    """Plan a job file; raise InvalidJobError with every violation found, at most 1000 of them.

    `broken` only makes it tell, of a module that cannot be run, why. Without `provisions` there are no secrets.
    """
    try:
        document = read_document(text)
    except InvalidDocumentError as error:
        raise InvalidJobError(error.violations) from None
    spec, found = read_job(document)
    fitter = _Fitter(
        document, modules, capacity, {module.name: module for module in broken}, provisions or Provisions()
    )
    fitter.violations += [*document.violations, *found]
    if spec is None:
        for place, entry in single_entries(document):
            if entry is None:
                fitter.check_module(place)
            else:
                fitter.fit(place, entry, "", "")
        _refuse(fitter.violations)
    wiring = Wiring(spec, document)
    steps = _plan_steps(spec, wiring, fitter)
    if fitter.violations or wiring.violations:
        _refuse(fitter.violations + wiring.violations)
    return _assemble(spec, wiring, steps)


def _refuse(violations: list[Violation]) -> NoReturn:
    ordered = sorted(violations, key=lambda violation: violation.line)
    if (more := len(ordered) - MAX_VIOLATIONS) > 0:
        rest = Violation(path="", line=0, message=f"{more} more problems are not shown")
        ordered = [*ordered[:MAX_VIOLATIONS], rest]
    raise InvalidJobError(tuple(ordered))


def _plan_steps(spec: JobSpec, wiring: Wiring, fitter: "_Fitter") -> tuple[PlanStep, ...]:
    steps: list[PlanStep] = []
    for index, (step, names) in enumerate(zip(spec.steps, wiring.entry_names, strict=True)):
        fitted = [
            fitter.fit(("steps", index, "entries", at), entry, step.name, name)
            for at, (entry, name) in enumerate(zip(step.entries, names, strict=True))
        ]
        steps.append(PlanStep(name=step.name, entries=tuple(entry for entry in fitted if entry is not None)))
    return tuple(steps)


def _assemble(spec: JobSpec, wiring: Wiring, steps: tuple[PlanStep, ...]) -> Plan:
    names: dict[int, list[str]] = defaultdict(list)
    for name, index in wiring.given.items():
        names[index].append(name)
    return Plan(
        name=spec.name,
        version=spec.version,
        labels=spec.labels,
        priority=spec.priority,
        timeout=spec.timeout,
        inputs=tuple(
            PlanInput(param_name=item.param_name, name=item.name, type=item.type, artifact_names=tuple(names[index]))
            for index, item in enumerate(spec.input_artifacts)
        ),
        artifacts=tuple(_list_artifacts(spec, wiring)),
        steps=steps,
    )


def _list_artifacts(spec: JobSpec, wiring: Wiring) -> Iterator[PlanArtifact]:
    consumers = {name: tuple(dict.fromkeys(map(wiring.entry_name, users))) for name, users in wiring.users.items()}
    for name, index in wiring.given.items():
        yield PlanArtifact(name=name, type=spec.input_artifacts[index].type, consumers=consumers[name])
    for name, maker in wiring.makers.items():
        step, entry = wiring.entry_name(maker)
        public = isinstance(maker.artifact, OutputArtifact) and maker.artifact.public
        kind = maker.artifact.type
        yield PlanArtifact(
            name=name, type=kind, public=public, step=step, entry=entry, consumers=consumers.get(name, ())
        )


@dataclass(slots=True)
class _Fitter:
    """Fits entries to the modules they run, and notes what does not fit."""

    document: Document
    modules: Mapping[str, Module]
    capacity: Capacity
    broken: Mapping[str, BrokenModule]
    provisions: Provisions
    violations: list[Violation] = field(default_factory=list)

    def fit(self, place: Place, entry: EntrySpec, step: str, name: str) -> PlanEntry | None:
        """Plan the entry; give None when there is no such module."""
        module = self.modules.get(entry.module)
        if module is None:
            self._miss_module((*place, "module"), entry.module)
            return None
        manifest = module.manifest
        self._check_secrets(place, module)
        return PlanEntry(
            step=step,
            name=name,
            module=module.name,
            module_version=module.version,
            folder=str(module.folder),
            entrypoint=module.entrypoint,
            inputs=self._bind((*place, "input_artifacts"), entry.input_artifacts, manifest.inputs, module.name),
            outputs=self._bind((*place, "output_artifacts"), entry.output_artifacts, manifest.outputs, module.name),
            options=self._options((*place, "params"), entry, module),
            resources=self._resources(place, entry, module),
            timeout=_said(entry.timeout, manifest.timeout),
            silence=_said(entry.silence, manifest.silence),
            log_limit=_said(entry.log_limit, manifest.log_limit),
            log_overflow=_said(entry.log_overflow, manifest.log_overflow),
            output_limit=_said(entry.output_limit, manifest.output_limit) or 0,
            retries=_said(entry.retries, manifest.retries),
            retry_on=_said(entry.retry_on, manifest.retry_on) or (),
            grace=manifest.grace,
            env=manifest.env,
            secrets=manifest.secrets,
            sandbox=self._sandbox(place, module),
            preload=manifest.preload,
        )

    def _check_secrets(self, place: Place, module: Module) -> None:
        for name in sorted(set(module.manifest.secrets.values()) - self.provisions.secrets):
            message = f"module {shown(module.name)} needs the secret {shown(name)}, which this daemon does not have"
            self._found((*place, "module"), message, f"the operator stores it with `jobd secret set {name}`")

    def _sandbox(self, place: Place, module: Module) -> Sandbox | None:
        asked = module.manifest.sandbox
        wanted = self.provisions.sandbox_for(None if asked is None else Sandbox(**asked.model_dump()))
        if wanted is not None and self.provisions.no_sandbox:
            message = f"module {shown(module.name)} must run in a sandbox, and none can be made"
            hint = f"{self.provisions.no_sandbox}; the operator mends that, or starts the daemon with --sandbox off"
            self._found((*place, "module"), message, hint)
        return wanted

    def check_module(self, place: Place) -> None:
        """Note a module that there is not, of an entry that cannot be read."""
        name = self.document.at((*place, "module"))
        if isinstance(name, str) and name not in self.modules:
            self._miss_module((*place, "module"), name)

    def _found(self, place: Place, message: str, hint: str = "") -> None:
        self.violations.append(self.document.violation(place, message, hint))

    def _miss_module(self, place: Place, name: str) -> None:
        if name in self.broken:
            reasons, folder = "; ".join(self.broken[name].reasons)[:500], self.broken[name].folder
            self._found(place, f"the module {shown(name)} is broken: {reasons}", f"mend {folder}")
        else:
            hint = self.document.nearest.hint(name, self.modules.keys(), "there are") or "no module was found at all"
            self._found(place, f"there is no module {shown(name)}", hint)

    def _bind(
        self, place: Place, items: Sequence[InputArtifact], declared: Sequence[ModuleInput | ModuleOutput], module: str
    ) -> tuple[Binding, ...]:
        kind = "input" if place[-1] == "input_artifacts" else "output"
        known = {file.param_name: file for file in declared}
        bound: dict[str, list[str]] = {name: [] for name in known}
        for index, item in enumerate(items):
            file = known.get(item.param_name)
            if file is None:
                hint = self.document.nearest.hint(item.param_name, known, f"{kind}s") or f"it has no {kind}s"
                message = f"module {shown(module)} has no {kind} {shown(item.param_name)}"
                self._found((*place, index, "param_name"), message, hint)
                continue
            self._check_file((*place, index), item, file, bound[item.param_name])
            bound[item.param_name].append(item.name)
        for name, file in known.items():
            if not bound[name] and not (isinstance(file, ModuleInput) and file.optional):
                hint = f"add an item with `param_name: {name}` and `type: {file.type}`"
                self._found(place, f"{kind} {shown(name)} of module {shown(module)} is missing", hint)
        return tuple(Binding(param_name=name, artifacts=tuple(names)) for name, names in bound.items() if names)

    def _check_file(
        self, place: Place, item: InputArtifact, file: ModuleInput | ModuleOutput, before: list[str]
    ) -> None:
        if item.type != file.type:
            message = f"{shown(item.param_name)} of the module is of type {shown(file.type)}, not {shown(item.type)}"
            self._found((*place, "type"), message, "types are checked, not converted")
        if before and not (isinstance(file, ModuleInput) and file.many):
            message = f"{shown(item.param_name)} is given twice"
            self._found(
                (*place, "param_name"), message, f"the module takes one file there; {shown(before[0])} is given"
            )

    def _options(self, place: Place, entry: EntrySpec, module: Module) -> tuple[str, ...]:
        params = {param.name: param for param in module.manifest.params}
        options: list[str] = []
        for name, raw in entry.params.items():
            if name not in params:
                hint = self.document.nearest.hint(name, params, "params") or "it has no params"
                self._found((*place, name), f"module {shown(module.name)} has no param {shown(name)}", hint)
                continue
            try:
                options += params[name].options(params[name].read(raw))
            except FieldError as error:
                self._found((*place, name), str(error), error.hint)
        for name, param in params.items():
            if param.required and name not in entry.params:
                message = f"param {shown(name)} of module {shown(module.name)} is missing"
                self._found(place, message, f"write `{name}:` and a value of type {param.type} under `params`")
        return tuple(options)

    def _resources(self, place: Place, entry: EntrySpec, module: Module) -> Resources:
        wanted = Resources(**entry.resources.over(module.manifest.resources).model_dump(exclude_none=True))
        there = _amounts(self.capacity) | ({} if self.capacity.memory else {("memory",): math.inf})
        for name, amount in _amounts(wanted).items():
            if amount > there.get(name, 0):
                written = (*place, "resources", *name)
                where = written if self.document.at(written) is not None else (*place, "module")
                message = (
                    f"the entry needs {amount:g} of {shown(name[-1])}, and this machine has {there.get(name, 0):g}"
                )
                self._found(where, message, "ask for less, or give the daemon more capacity")
        return wanted


def _said(by_entry: ValueT | None, by_module: ValueT) -> ValueT:
    return by_module if by_entry is None else by_entry


def _amounts(resources: Resources | Capacity) -> dict[tuple[str, ...], float]:
    counters: dict[tuple[str, ...], float] = {("counters", name): amount for name, amount in resources.counters.items()}
    return {("cpus",): resources.cpus, ("memory",): resources.memory, ("gpus",): resources.gpus, **counters}
