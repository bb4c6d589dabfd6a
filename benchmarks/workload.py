"""The modules and job files that are measured with, written into the folder of a run."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TypedDict

_COPY = """
options = argparse.ArgumentParser()
options.add_argument("--input")
options.add_argument("--output")
options = options.parse_args()
shutil.copyfile(options.input, options.output)
"""

_GATE = """
import pathlib, sys, time
gate = pathlib.Path(sys.argv[1].partition("=")[2])
while not gate.exists():
    time.sleep(0.05)
"""

_LOUD = """
import os, sys
left, block = int(sys.argv[1].partition("=")[2]), (b"x" * 99 + b"\\n") * 655
while left > 0:
    left -= os.write(1, block[:left])
"""

_BEAT = """
import sys, time
for beat in range(int(sys.argv[1].partition("=")[2])):
    time.sleep(2)
    print("openjd_progress:", beat + 1, flush=True)
"""

_STAMP = """
import time
print(time.time(), flush=True)
print("last", time.time(), flush=True)
"""

_FILES: dict[str, tuple[str, dict[str, object]]] = {
    "copy": ("import argparse, shutil" + _COPY, {}),
    "imports": ("import argparse, shutil\nimport av, numpy" + _COPY, {"preload": ["av", "numpy"]}),
    "stamp": (_STAMP, {}),
    "gate": (_GATE, {"params": [{"name": "file", "type": "string"}]}),
    "loud": (_LOUD, {"params": [{"name": "bytes", "type": "int"}], "log_limit": "4GiB"}),
    "beat": (_BEAT, {"params": [{"name": "count", "type": "int"}]}),
}
"""The script of each module, and what its manifest says beside the usual."""
_COPIES = ("copy", "imports")


class Artifact(TypedDict, total=False):
    """An artifact of an entry, as a job file has it."""

    name: str
    param_name: str
    type: str
    public: bool


class Entry(TypedDict, total=False):
    """An entry, as a job file has it."""

    name: str
    module: str
    input_artifacts: list[Artifact]
    output_artifacts: list[Artifact]
    params: dict[str, str | int]
    resources: dict[str, object]


@dataclass(frozen=True, slots=True)
class Workload:
    """The modules, and how to ask for their work."""

    folder: Path

    @property
    def modules(self) -> Path:
        """The folder with all modules."""
        return self.folder / "modules"

    @property
    def input(self) -> Path:
        """The file that the copying modules copy, 1 KiB."""
        return self.folder / "input.bin"

    def script(self, module: str) -> Path:
        """Give the script of a module."""
        return self.modules / module / "main.py"

    def write(self) -> None:
        """Write the modules and the input."""
        for name, (script, more) in _FILES.items():
            self.script(name).parent.mkdir(parents=True)
            self.script(name).write_text(script)
            manifest = {"name": name, "description": "A module to measure with", "entrypoint": "main.py"} | more
            if name in _COPIES:
                manifest |= {key: [{"param_name": key[:-1], "type": "data"}] for key in ("inputs", "outputs")}
            (self.script(name).parent / "manifest.yaml").write_text(json.dumps(manifest))
        self.input.write_bytes(bytes(1024))


def job(name: str, *steps: list[Entry], copies: bool = False) -> bytes:
    """Write a job file of these steps; `copies` says that its entries take the one input."""
    document: dict[str, object] = {
        "name": name,
        "steps": [{"name": f"step{number}", "entries": entries} for number, entries in enumerate(steps, 1)],
    }
    if copies:
        document["input_artifacts"] = [{"param_name": "input", "type": "data"}]
    return json.dumps(document, separators=(",", ":")).encode()


def copies(count: int, module: str = "copy", *, public: bool = False) -> list[Entry]:
    """Give entries that copy the input, each to a file of its own."""
    return [
        {
            "module": module,
            "input_artifacts": [{"name": "in.bin", "param_name": "input", "type": "data"}],
            "output_artifacts": [
                {"name": f"{module}-{number}.bin", "param_name": "output", "type": "data"}
                | ({"public": True} if public else {})  # type: ignore[list-item]
            ],
        }
        for number in range(count)
    ]


def gated(gate: Path, name: str = "gate") -> Entry:
    """Give an entry that holds the counter `gate` until a file is there."""
    return {"name": name, "module": "gate", "params": {"file": str(gate)}, "resources": {"counters": {"gate": 1}}}
