"""What the manifests say, held against the scripts."""

import ast
import re
from pathlib import Path

import pytest
import yaml

from jobd.catalog import Catalog
from jobd.plan import Capacity
from jobd.planner import make_plan

ROOT = Path(__file__).parents[3]
MODULES = sorted(path.parent for path in (ROOT / "modules").glob("*/manifest.yaml"))
EXAMPLES = sorted((ROOT / "examples").glob("*.yaml"))


@pytest.mark.parametrize("folder", MODULES, ids=lambda folder: folder.name)
def test_manifest_and_script_agree(folder, run):
    """A manifest names exactly the parameters that its script takes, and says the script's defaults and choices."""
    manifest = yaml.safe_load((folder / "manifest.yaml").read_text(encoding="utf-8"))
    known = {"name", "version", "description", "entrypoint", "inputs", "outputs", "params", "preload"}

    assert set(manifest) <= known
    assert manifest["name"] == folder.name
    named = {item["param_name"] for item in manifest["inputs"] + manifest["outputs"]}
    named |= {item["name"] for item in manifest.get("params", [])}
    usage = run.ok(folder.name, "--help")
    assert named == set(re.findall(r"^  --(\w+)", usage, re.MULTILINE))
    for item in manifest.get("params", []):
        if "choices" in item:
            assert "{" + ",".join(map(str, item["choices"])) + "}" in usage
    said = {item["name"]: item["default"] for item in manifest.get("params", []) if "default" in item}
    assert len(said) == len(manifest.get("params", [])), "jobd takes a param without a default for required"
    assert said.items() <= defaults(folder / "main.py").items()


def defaults(script: Path) -> dict[str, object]:
    """The defaults of a script's options, as its calls of add_argument have them."""
    calls = [node for node in ast.walk(ast.parse(script.read_text(encoding="utf-8"))) if isinstance(node, ast.Call)]
    found = {}
    for call in calls:
        if getattr(call.func, "attr", "") == "add_argument" and isinstance(call.args[0], ast.Constant):
            default = {word.arg: word.value for word in call.keywords}.get("default", ast.Constant(None))
            found[call.args[0].value.removeprefix("--")] = ast.literal_eval(default)
    return found


def test_examples_can_be_planned():
    """Every module can be loaded, and every example planned on a machine of one CPU."""
    found = Catalog((ROOT / "modules",)).scan()
    jobs = {path: make_plan(path.read_bytes(), found.modules, Capacity(cpus=1)) for path in EXAMPLES}

    assert found.broken == ()
    assert sorted(found.modules) == [folder.name for folder in MODULES]
    assert {path.stem for path in jobs} == {"media_report", "minimal"}
    assert [len(step.entries) for step in jobs[ROOT / "examples" / "media_report.yaml"].steps] == [4, 3, 1]
