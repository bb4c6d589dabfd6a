"""The schemas for editors: as the models are, and no stricter than they."""

import json
import re
from pathlib import Path

import jsonschema
import pytest
import yaml

from jobd.errors import InvalidDocumentError
from jobd.json_schema import Format, make, write
from jobd.manifest import read_manifest
from jobd.spec import read_job
from jobd.yaml_reader import read_document

REPOSITORY = Path(__file__).parents[2]
BLOCK = re.compile(r"^```yaml\n(.*?)^```$", re.MULTILINE | re.DOTALL)
MINIMAL = {
    Format.JOB: "name: j\nsteps:\n  - name: s\n    entries:\n      - module: m\n",
    Format.MANIFEST: "name: m\ndescription: d\nentrypoint: main.py\n",
}


def accepts(kind, text):
    """Tell whether the schema takes the document, as an editor reads it."""
    return jsonschema.Draft202012Validator(make(kind)).is_valid(yaml.safe_load(text))


def is_read(kind, text):
    """Tell whether jobd reads the document."""
    try:
        if kind is Format.MANIFEST:
            read_manifest(text.encode())
            return True
        document = read_document(text.encode())
    except InvalidDocumentError:
        return False
    spec, violations = read_job(document)
    return spec is not None and not violations and not document.violations


def examples(kind):
    """List the files and the blocks of the docs that are of this format."""
    files = REPOSITORY.glob("modules/*/manifest.yaml" if kind is Format.MANIFEST else "examples/*.yaml")
    texts = {str(path): path.read_text() for path in files}
    document = REPOSITORY / "docs" / ("module.md" if kind is Format.MANIFEST else "job-file.md")
    blocks = [text for text in BLOCK.findall(document.read_text()) if text.startswith("name:")]
    return list(texts.values()) + blocks


@pytest.mark.parametrize("kind", Format)
def test_the_published_schema_is_that_of_the_models(kind):
    """`jobd schema` prints what lies in docs/schema, and it is a valid schema."""
    published = REPOSITORY / "docs" / "schema" / f"{kind}.schema.json"
    assert published.read_text(encoding="utf-8") == write(kind), f"run: jobd schema {kind} > {published}"
    jsonschema.Draft202012Validator.check_schema(json.loads(write(kind)))


@pytest.mark.parametrize("kind", Format)
def test_examples_fit(kind):
    """Every module that ships, every example and every whole block of the docs is valid for both."""
    texts = examples(kind)
    assert len(texts) > (5 if kind is Format.MANIFEST else 1)
    for text in texts:
        assert is_read(kind, text), text
        assert accepts(kind, text), text


ENTRY = "        "


@pytest.mark.parametrize(
    ("kind", "more", "fine"),
    [
        (Format.MANIFEST, "version: 1.10", True),
        (Format.MANIFEST, "timeout: 10m", True),
        (Format.MANIFEST, "timeout: 90", True),
        (Format.MANIFEST, "timeout: 1.5 h", True),
        (Format.MANIFEST, "timeout: soon", False),
        (Format.MANIFEST, "timeout: -1", False),
        (Format.MANIFEST, "retries: 101", False),
        (Format.MANIFEST, "retries: 3", True),
        (Format.MANIFEST, "retry_on: [signal, timeout]", True),
        (Format.MANIFEST, "retry_on: [bad luck]", False),
        (Format.MANIFEST, "retry_on: []", False),
        (Format.MANIFEST, "log_limit: 512MB", True),
        (Format.MANIFEST, "log_overflow: stop", True),
        (Format.MANIFEST, "log_overflow: shout", False),
        (Format.MANIFEST, "preload: false", True),
        (Format.MANIFEST, "preload: [numpy, av]", True),
        (Format.MANIFEST, "preload: yes please", False),
        (Format.MANIFEST, "secrets: [API_KEY]", True),
        (Format.MANIFEST, "secrets: {KEY: farm}", True),
        (Format.MANIFEST, "sandbox: true", True),
        (Format.MANIFEST, "sandbox: {network: true}", True),
        (Format.MANIFEST, "sandbox: {net: true}", False),
        (Format.MANIFEST, "env: {A: 1, B: text}", True),
        (Format.MANIFEST, "resources: {cpus: 0.5, memory: 2GiB, gpus: 1, counters: {licence: 1}}", True),
        (Format.MANIFEST, "resources: {cpu: 1}", False),
        (Format.MANIFEST, "params: [{name: n, type: int, default: 3, range: [1, null]}]", True),
        (Format.MANIFEST, "params: [{name: n, type: integer}]", False),
        (Format.MANIFEST, "inputs: [{param_name: i, type: video, many: true}]", True),
        (Format.MANIFEST, "inputs: [{param_name: i}]", False),
        (Format.MANIFEST, "colour: red", False),
        (Format.JOB, "labels: {team: news, year: 2024}\npriority: 5\ntimeout: 2h", True),
        (Format.JOB, "priority: 5000", False),
        (Format.JOB, "input_artifacts: [{param_name: i, type: video, name: v.mp4}]", True),
        (Format.JOB, f"{ENTRY}params: {{width: 3, name: x}}", True),
        (Format.JOB, f"{ENTRY}retries: 2\n{ENTRY}timeout: 1d", True),
        (Format.JOB, f"{ENTRY}output_artifacts: [{{name: a, param_name: o, type: t, public: true}}]", True),
        (Format.JOB, f"{ENTRY}output_artifacts: [{{name: a, param_name: o}}]", False),
        (Format.JOB, f"{ENTRY}modul: m", False),
    ],
)
def test_schema_and_jobd_agree(kind, more, fine):
    """What one takes the other takes, and what one refuses the other refuses."""
    text = MINIMAL[kind] + more + "\n"
    assert is_read(kind, text) == fine
    assert accepts(kind, text) == fine


@pytest.mark.parametrize("kind", Format)
def test_every_key_is_explained(kind):
    """An editor shows a word on each key, and no stray bound is left of the models."""
    schema = make(kind)
    parts = [schema, *schema["$defs"].values()]
    assert all(value["description"] for part in parts for value in part.get("properties", {}).values())
    assert not re.search(r'"(ge|gt|le|lt)": [0-9]', json.dumps(schema))
