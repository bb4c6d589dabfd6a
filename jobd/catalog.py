"""The modules that there are: folders with a `manifest.yaml`, found anew at each look."""

import os
import re
import stat
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from jobd.errors import InvalidDocumentError
from jobd.manifest import Manifest, read_manifest
from jobd.names import shown
from jobd.yaml_reader import MAX_BYTES

MANIFEST_NAME = "manifest.yaml"
SETTLED_NS = 50_000_000
"""A manifest that was read so soon after it was written may change again without a change of its time."""


_UNENCODABLE = re.compile(r"[\ud800-\udfff]")


@dataclass(frozen=True, slots=True, kw_only=True)
class Module:
    """A module that can be run."""

    name: str
    description: str
    version: str
    folder: Path
    entrypoint: str
    manifest: Manifest


@dataclass(frozen=True, slots=True, kw_only=True)
class BrokenModule:
    """A folder whose module cannot be run, and why; `name` is the folder's where the manifest does not tell one."""

    name: str
    folder: Path
    reasons: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """The modules as one look found them."""

    modules: Mapping[str, Module]
    broken: tuple[BrokenModule, ...]


Identity = tuple[int, int, int, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Reading:
    """What one state of a manifest file said: a manifest, or the reasons why it is none."""

    identity: Identity
    settled: bool
    manifest: Manifest | None = None
    reasons: tuple[str, ...] = ()


class Catalog:
    """Looks for modules below some folders. May be used from several threads."""

    def __init__(self, roots: tuple[Path, ...]) -> None:
        """Look below these folders; of two modules with one name, that of the earlier folder counts."""
        self._roots = tuple(root.absolute() for root in roots)
        self._readings: dict[Path, _Reading] = {}
        self._lock = threading.Lock()
        self.parsed = 0
        """How many times a manifest was read and parsed so far."""

    def scan(self) -> Snapshot:
        """Look again. Only manifests that changed are read; what cannot be used is listed as broken, with reasons."""
        with self._lock:
            modules: dict[str, Module] = {}
            broken: list[BrokenModule] = []
            readings: dict[Path, _Reading] = {}
            for found in _walk(self._roots):
                module = found if isinstance(found, BrokenModule) else self._look(found, readings)
                if isinstance(module, Module) and (first := modules.setdefault(module.name, module)) is not module:
                    reason = f"another module is called {shown(module.name)}, and it comes first: {first.folder}"
                    module = _broken(module.folder, reason, name=module.name)
                if isinstance(module, BrokenModule):
                    broken.append(module)
            self._readings = readings
            return Snapshot(modules=MappingProxyType(dict(sorted(modules.items()))), broken=tuple(broken))

    def _look(self, folder: Path, readings: dict[Path, _Reading]) -> Module | BrokenModule:
        try:
            reading = readings[folder] = self._read(folder)
            reasons = reading.reasons or _find_faults(folder, reading.manifest)
        except OSError as error:
            return _broken(folder, f"{MANIFEST_NAME} cannot be read: {error.strerror}")
        if reading.manifest is None or reasons:
            name = reading.manifest.name if reading.manifest else ""
            return _broken(folder, *reasons, name=name)
        return _module(folder, reading.manifest)

    def _read(self, folder: Path) -> _Reading:
        path = folder / MANIFEST_NAME
        status = path.stat()
        identity = (status.st_mtime_ns, status.st_size, status.st_ino, status.st_dev)
        known = self._readings.get(folder)
        if known is not None and known.settled and known.identity == identity:
            return known
        settled = abs(time.time_ns() - status.st_mtime_ns) > SETTLED_NS
        if not stat.S_ISREG(status.st_mode):
            return _Reading(identity=identity, settled=settled, reasons=(f"{MANIFEST_NAME} is not a regular file",))
        self.parsed += 1
        try:
            with path.open("rb") as file:
                manifest = read_manifest(file.read(MAX_BYTES + 1))
        except InvalidDocumentError as error:
            return _Reading(identity=identity, settled=settled, reasons=tuple(map(str, error.violations)))
        return _Reading(identity=identity, settled=settled, manifest=manifest)


def _walk(roots: tuple[Path, ...]) -> Iterator[Path | BrokenModule]:
    """Give the folders that hold a manifest, in the order of the roots and then of their paths, each once."""
    seen: set[tuple[int, int]] = set()
    waiting = list(reversed(roots))
    while waiting:
        folder = waiting.pop()
        try:
            status = folder.stat()
            if (status.st_dev, status.st_ino) in seen:
                continue
            seen.add((status.st_dev, status.st_ino))
            if os.path.lexists(folder / MANIFEST_NAME):
                yield folder
            else:
                waiting += sorted(_subfolders(folder), reverse=True)
        except OSError as error:
            yield _broken(folder, f"the folder cannot be read: {error.strerror}")


def _subfolders(folder: Path) -> Iterator[Path]:
    with os.scandir(folder) as items:
        for item in items:
            if not item.name.startswith(".") and item.name != "__pycache__" and item.is_dir():
                yield folder / item.name


def _find_faults(folder: Path, manifest: Manifest | None) -> tuple[str, ...]:
    """Tell what keeps the module from being started although its manifest is well formed."""
    if manifest is None:
        return ()
    if _UNENCODABLE.search(str(folder)):
        return ("the path of the folder is not valid UTF-8",)
    script = folder / manifest.entrypoint
    if not script.is_file():
        return (f"entrypoint: there is no file {shown(manifest.entrypoint)} in the folder",)
    if not script.resolve().is_relative_to(folder.resolve()):
        return (f"entrypoint: {shown(manifest.entrypoint)} is a link out of the folder",)
    return ()


def _module(folder: Path, manifest: Manifest) -> Module:
    return Module(
        name=manifest.name,
        description=manifest.description,
        version=manifest.version,
        folder=folder,
        entrypoint=manifest.entrypoint,
        manifest=manifest,
    )


def _broken(folder: Path, *reasons: str, name: str = "") -> BrokenModule:
    return BrokenModule(name=name or folder.name, folder=folder, reasons=reasons)
