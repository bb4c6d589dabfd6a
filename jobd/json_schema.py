"""The JSON Schema of job files and of manifests, for editors: made from the models that read them.

A schema is a help while writing. It accepts whatever jobd accepts; what only shows when files are read together, such
as a name that is given twice, jobd alone finds.
"""

import json
from enum import StrEnum
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue
from pydantic_core import core_schema

from jobd.manifest import Manifest
from jobd.spec import JobSpec

_SCALAR = ["string", "number", "boolean"]
"""Text may be written without quotes, and then looks like a number to an editor: `version: 1.0`."""
_TIME = {"type": "string", "pattern": r"^[0-9]{1,15}(\.[0-9]{1,9})? ?(ms|s|m|h|d)$"}
_SIZE = {"type": "string", "pattern": r"^[0-9]{1,15}(\.[0-9]{1,9})? ?(B|[KMGT]i?B)$"}
_SPOKEN: dict[str, JsonSchemaValue] = {
    "_seconds": _TIME,
    "_bytes": _SIZE,
    "_read_preload": {"const": False},
    "_read_secrets": {"type": "array", "items": {"type": "string"}},
    "_read_sandbox": {"type": "boolean"},
}
"""What is read beside a field's own type, by the function that reads it."""
_CHECKED: dict[str, JsonSchemaValue] = {
    "check_option": {"pattern": "^[A-Za-z][A-Za-z0-9_-]{0,99}$"},
    "check_file_name": {"minLength": 1, "maxLength": 255, "pattern": "^[^/\\u0000-]"},
    "check_line": {"minLength": 1, "maxLength": 255},
    "_check_filled": {"minLength": 1},
    "_check_some": {"minItems": 1},
    "_check_kinds": {"minItems": 1},
    "_check_script": {"pattern": r"\.py$"},
}
"""What a value must be beside its type, by the function that checks it."""
_ABOUT = {
    "choices": "the values it may have",
    "counters": "licences, encoders, and whatever else the operator counts",
    "cpus": "how many cpus one run needs; may be a fraction",
    "default": "what it is when a job leaves it out; written, even as null, it makes the param optional",
    "description": "what it does",
    "entrypoint": "the Python script, a file of the same folder",
    "entries": "what runs in parallel",
    "env": "environment variables that the module is given",
    "gpus": "how many gpus one run needs",
    "grace": "the time between SIGTERM and SIGKILL when a run is stopped",
    "input_artifacts": "the files that go in",
    "inputs": "the files that the module takes",
    "labels": "words by which jobs are found again",
    "log_limit": "the most that is kept of what one run prints, at least 64KiB",
    "log_overflow": "what follows when a log passes its limit: its middle is dropped, or the run is stopped",
    "many": "whether a job may give several files, which are passed after one flag",
    "memory": "how much memory one run needs",
    "module": "the module that is run",
    "name": "what it is called",
    "network": "whether the network can be reached from the sandbox",
    "optional": "whether a job may leave it out",
    "output_artifacts": "the files that come out",
    "output_limit": "the most that the outputs of one run may have together",
    "outputs": "the files that the module makes",
    "param_name": "the option by which the path is passed to the module",
    "params": "plain options of the module",
    "preload": "the imports that are held ready between runs; false starts a fresh interpreter each time",
    "priority": "higher starts first",
    "public": "whether it is kept after the job",
    "range": "the least and the greatest value, either may be null",
    "read": "folders that can be read from the sandbox",
    "resources": "what one run needs of the machine",
    "retries": "how often a failed run is tried again",
    "retry_on": "the failures that are tried again; any, where nothing is said",
    "sandbox": "runs the module where it sees little but its files",
    "secrets": "environment variables that get a secret of the operator's",
    "silence": "the most that a run may print nothing",
    "steps": "what is done, one after another",
    "timeout": "the most that it may take",
    "type": "what kind of file it is, or of a param what kind of value",
    "version": "kept as the text that was written",
}
"""What an editor shows for a key; a key means the same in both formats."""


class Format(StrEnum):
    """The files that users write."""

    JOB = "job"
    MANIFEST = "manifest"


_MODELS: dict[Format, type[BaseModel]] = {Format.JOB: JobSpec, Format.MANIFEST: Manifest}
_TITLES = {Format.JOB: "jobd job file", Format.MANIFEST: "jobd module manifest"}


def write(kind: Format) -> str:
    """Write the schema as JSON, always in the same words."""
    return json.dumps(make(kind), indent=2, sort_keys=True, ensure_ascii=False) + "\n"


def make(kind: Format) -> JsonSchemaValue:
    """Make the schema."""
    schema = _MODELS[kind].model_json_schema(schema_generator=_Generator)
    for part in (schema, *schema.get("$defs", {}).values()):
        _describe_keys(part)
    _mend_bounds(schema)
    return {"$schema": GenerateJsonSchema.schema_dialect, **schema, "title": _TITLES[kind]}


def _mend_bounds(node: object) -> None:
    """Write bounds that stand behind a function as JSON Schema does, and leave them out where they are not numbers'."""
    if isinstance(node, dict):
        for ours, theirs in (
            ("ge", "minimum"),
            ("gt", "exclusiveMinimum"),
            ("le", "maximum"),
            ("lt", "exclusiveMaximum"),
        ):
            if not isinstance(node.get(ours), dict) and (bound := node.pop(ours, None)) is not None:
                for inner in (node, *node.get("anyOf", ())):
                    if inner.get("type") in {"integer", "number"}:
                        inner[theirs] = bound
    for item in node.values() if isinstance(node, dict) else node if isinstance(node, list) else ():
        _mend_bounds(item)


def _describe_keys(part: JsonSchemaValue) -> None:
    part.pop("title", None)
    for name, value in part.get("properties", {}).items():
        value.pop("title", None)
        value["description"] = _ABOUT[name]


class _Generator(GenerateJsonSchema):
    """Says of each field what jobd reads there, which is more than its type where a function stands before it."""

    def str_schema(self, schema: core_schema.StringSchema) -> JsonSchemaValue:
        return {**super().str_schema(schema), "type": _SCALAR}

    def dict_schema(self, schema: core_schema.DictSchema) -> JsonSchemaValue:
        made = super().dict_schema(schema)
        if "type" in made.get("propertyNames", {}):
            made["propertyNames"]["type"] = "string"
        return made

    def function_before_schema(self, schema: core_schema.BeforeValidatorFunctionSchema) -> JsonSchemaValue:
        made = super().function_before_schema(schema)
        spoken = _SPOKEN.get(_name(schema["function"]))
        return {"anyOf": [made, spoken]} if spoken else made

    def function_after_schema(self, schema: core_schema.AfterValidatorFunctionSchema) -> JsonSchemaValue:
        return {**super().function_after_schema(schema), **_CHECKED.get(_name(schema["function"]), {})}


def _name(function: Any) -> str:  # noqa: ANN401 - pydantic has a dozen kinds of them
    return getattr(function["function"], "__name__", "")
