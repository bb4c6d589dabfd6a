"""Checking modules without a daemon: what the catalog would say, with lines, and whether the script compiles."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from jobd.catalog import MANIFEST_NAME, BrokenModule, Catalog, Module
from jobd.errors import InvalidDocumentError, JobdError, Violation
from jobd.manifest import read_manifest
from jobd.names import ascii_controls
from jobd.yaml_reader import MAX_BYTES


class ModuleFolderError(JobdError):
    """There is no module in the folder."""


class TargetExistsError(JobdError):
    """What is to be made is there already."""


def find_modules(paths: Sequence[Path]) -> tuple[tuple[Module, ...], tuple[BrokenModule, ...]]:
    """Look below the paths as the daemon does below its own; ModuleFolderError for one without any manifest."""
    for path in paths:
        if not path.is_dir():
            raise ModuleFolderError(f"{path}: there is no such folder")
        found = Catalog((path,)).scan()
        if not (found.modules or found.broken):
            raise ModuleFolderError(f"{path}: there is no {MANIFEST_NAME} in this folder or below it")
    snapshot = Catalog(tuple(paths)).scan()
    return tuple(snapshot.modules.values()), snapshot.broken


def list_problems(module: Module | BrokenModule) -> list[str]:
    """Give what is wrong, a line each in the form that editors jump to: `FILE:LINE: where: what (how to mend it)`."""
    return [ascii_controls(line) for line in _find_problems(module)]


def _find_problems(module: Module | BrokenModule) -> Iterator[str]:
    if isinstance(module, Module):
        yield from _find_syntax_errors(module.folder / module.entrypoint)
        return
    manifest = module.folder / MANIFEST_NAME
    violations = _read_violations(manifest)
    yield from (_write(manifest, violation) for violation in violations)
    if not violations:
        yield from (f"{manifest}: {reason}" for reason in module.reasons)


def _read_violations(manifest: Path) -> tuple[Violation, ...]:
    try:
        with manifest.open("rb") as file:
            read_manifest(file.read(MAX_BYTES + 1))
    except InvalidDocumentError as error:
        return error.violations
    except OSError:
        return ()  # the catalog's own reason says so
    return ()


def _write(manifest: Path, violation: Violation) -> str:
    where = f"{manifest}:{violation.line}" if violation.line else str(manifest)
    hint = f" ({violation.hint})" if violation.hint else ""
    return ": ".join(part for part in (where, violation.path, violation.message + hint) if part)


def _find_syntax_errors(script: Path) -> Iterator[str]:
    try:
        compile(script.read_bytes(), str(script), "exec", dont_inherit=True)
    except SyntaxError as error:
        yield f"{script}:{error.lineno or 1}: {error.msg}"
    except (OSError, ValueError) as error:
        yield f"{script}: {error}"
