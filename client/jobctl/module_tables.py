"""Modules as text for a person."""

from collections.abc import Iterable

from jobapi.v1 import module_service_pb2

from jobctl.tables import format_facts, format_table
from jobctl.terminal import escape


def format_modules(answer: module_service_pb2.ListModulesResponse, *, wide: bool = False) -> list[str]:
    """Give a line for each module, below a head, and the broken ones with their reasons; `wide` adds columns."""
    head = ("NAME", "TAKES", "MAKES", "DESCRIPTION", *(("VERSION", "OPTIONS", "FOLDER") if wide else ()))
    rows = [_make_row(module, wide=wide) for module in answer.modules]
    return [*format_table([head, *rows]), *_format_broken(answer.broken)]


def format_module(module: module_service_pb2.Module) -> list[str]:
    """Tell everything about one module."""
    facts = [
        ("name", module.name),
        ("version", module.version),
        ("does", module.description),
        ("folder", module.folder),
    ]
    rows = [("PARAM", "KIND", "TYPE", "NEEDED", "ABOUT")]
    rows += [
        (item.param_name, "input", item.type, _name_need(item), "several" if item.many else "")
        for item in module.inputs
    ]
    rows += [(item.param_name, "output", item.type, "yes", "") for item in module.outputs]
    rows += [(item.name, "option", item.type, _name_default(item), _describe_param(item)) for item in module.params]
    return [*format_facts(facts), "", *format_table(rows)]


def _make_row(module: module_service_pb2.Module, *, wide: bool) -> tuple[str, ...]:
    row = (module.name, _name_types(module.inputs), _name_types(module.outputs), module.description)
    options = ", ".join(param.name for param in module.params)
    return (*row, module.version, options, module.folder) if wide else row


def _format_broken(broken: Iterable[module_service_pb2.BrokenModule]) -> list[str]:
    return [
        line
        for item in broken
        for line in ("", f"broken: {escape(item.folder)}", *(f"  {escape(reason)}" for reason in item.reasons))
    ]


def _name_types(files: Iterable[module_service_pb2.ModuleFile]) -> str:
    return ", ".join(file.type for file in files)


def _name_need(file: module_service_pb2.ModuleFile) -> str:
    return "no" if file.optional else "yes"


def _name_default(param: module_service_pb2.ModuleParam) -> str:
    return f"no, {param.default_json}" if param.default_json else "yes"


def _describe_param(param: module_service_pb2.ModuleParam) -> str:
    choices = f"one of {', '.join(param.choices_json)}" if param.choices_json else ""
    return ", ".join(part for part in (param.description, choices) if part)
