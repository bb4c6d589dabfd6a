"""`jobd module`: what authors of modules need, without a daemon. `jobctl module` is the same."""

import sys
from pathlib import Path
from typing import Any

from jobd.attempt import Cancelled, Failed
from jobd.catalog import BrokenModule, Module
from jobd.errors import InvalidDocumentError, InvalidInputError, InvalidJobError
from jobd.module_check import ModuleFolderError, TargetExistsError, find_modules, list_problems
from jobd.module_run import Wanted, plan_run, run_module
from jobd.module_template import make_module
from jobd.names import ascii_controls

# jobctl's own numbers, for the same things.
EXIT_OK, EXIT_FAILED, EXIT_USAGE, EXIT_NOT_FOUND, EXIT_INVALID, EXIT_INTERRUPTED = 0, 1, 2, 6, 7, 130


def perform(arguments: dict[str, Any]) -> int:
    """Do what the command line says; give the exit code, after an error on standard error."""
    actions = {"new": _new, "check": _check, "run": _run}
    try:
        return actions[arguments["module_command"]](arguments)
    except ModuleFolderError as error:
        return _fail(str(error), EXIT_NOT_FOUND)
    except TargetExistsError as error:
        return _fail(str(error), EXIT_FAILED)
    except InvalidInputError as error:
        return _fail(str(error), EXIT_INVALID)


def _new(arguments: dict[str, Any]) -> int:
    try:
        folder = make_module(arguments["name"], arguments["to"])
    except InvalidDocumentError as error:
        return _fail(f"no module can be called so: {error.violations[0].message}", EXIT_USAGE)
    print(folder)
    print(f"test it: cd {folder} && python -m unittest", file=sys.stderr)
    print(f"run it: jobctl module run {folder} --input input=FILE --to results", file=sys.stderr)
    return EXIT_OK


def _check(arguments: dict[str, Any]) -> int:
    good, broken = find_modules(arguments["paths"])
    modules: tuple[Module | BrokenModule, ...] = (*good, *broken)
    found = {module.folder: list_problems(module) for module in modules}
    for line in (line for folder in sorted(found) for line in found[folder]):
        print(line, file=sys.stderr)
    for module in good:
        if not found[module.folder]:
            print(f"{module.name}: fine")
    return EXIT_INVALID if any(found.values()) else EXIT_OK


def _run(arguments: dict[str, Any]) -> int:
    module = _find_module(arguments["path"])
    if isinstance(module, int):
        return module
    try:
        wanted = Wanted(
            inputs=tuple((name, Path(path).expanduser()) for name, path in map(_split, arguments["input"])),
            outputs=dict(map(_split, arguments["output"])),
            params=tuple(map(_split, arguments["param"])),
        )
        _check_inputs(module, wanted)
    except _UsageError as error:
        return _fail(str(error), EXIT_USAGE)
    try:
        plan = plan_run(module, wanted)
    except InvalidJobError as error:
        for violation in error.violations:
            hint = f" ({violation.hint})" if violation.hint else ""
            print(ascii_controls(violation.message + hint), file=sys.stderr)
        return _fail(f"{module.name} cannot be run so", EXIT_INVALID)
    outcome, paths = run_module(plan, wanted, arguments["to"], replace=arguments["force"])
    for path in paths:
        print(path)
    match outcome:
        case Failed(failure):
            return _fail(f"{module.name} failed: {failure.message}", EXIT_FAILED)
        case Cancelled(reason):
            return _fail(f"{module.name} was ended: {reason}", EXIT_INTERRUPTED)
    return EXIT_OK


def _find_module(path: Path) -> Module | int:
    good, broken = find_modules([path])
    modules: tuple[Module | BrokenModule, ...] = (*good, *broken)
    if len(modules) > 1:
        names = ", ".join(sorted(module.name for module in modules))
        return _fail(f"{path} holds several modules: {names}; name the folder of one", EXIT_USAGE)
    problems = [line for module in modules for line in list_problems(module)]
    for line in problems:
        print(line, file=sys.stderr)
    return _fail(f"the module in {path} cannot be run", EXIT_INVALID) if problems else good[0]


def _check_inputs(module: Module, wanted: Wanted) -> None:
    known = [file.param_name for file in module.manifest.inputs]
    if unknown := [name for name, _ in wanted.inputs if name not in known]:
        has = ", ".join(known) or "none"
        raise _UsageError(f"--input {unknown[0]}: the module has no such input; it has: {has}")


class _UsageError(Exception):
    """The command line cannot be used."""


def _split(option: str) -> tuple[str, str]:
    name, equals, value = option.partition("=")
    if not (name and equals):
        raise _UsageError(f"{option}: not of the form NAME=VALUE")
    return name, value


def _fail(message: str, code: int) -> int:
    print(f"jobd: {ascii_controls(message)}", file=sys.stderr)
    return code
