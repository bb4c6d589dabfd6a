"""`jobctl ping` and `jobctl modules`."""

import time

from jobapi.v1 import job_service_pb2, module_service_pb2

from jobctl.address import Address
from jobctl.answers import print_answer
from jobctl.arguments import Arguments
from jobctl.errors import ModuleUnknownError
from jobctl.exit_codes import ExitCode
from jobctl.json_output import dump_document, to_json
from jobctl.module_tables import format_module, format_modules
from jobctl.output_format import OutputFormat
from jobctl.session import connect
from jobctl.tables import format_table
from jobctl.terminal import escape
from jobctl.units import format_duration, now, to_datetime


def ping(arguments: Arguments) -> ExitCode:
    """Tell whether a daemon answers, how fast, and what it is."""
    with connect(arguments) as client:
        begin = time.monotonic()
        info = client.info()
        milliseconds = (time.monotonic() - begin) * 1000
    wide = arguments.output == OutputFormat.WIDE
    if arguments.json:
        data = to_json(info)
        print(dump_document({"address": str(client.address), "round_trip_ms": round(milliseconds, 1), **data}))
    else:
        print("\n".join(_format_info(info, client.address, milliseconds, wide=wide)))
    return ExitCode.SUCCEEDED


def modules(arguments: Arguments) -> ExitCode:
    """List the modules that jobs can use, or tell about one."""
    with connect(arguments) as client:
        answer = client.modules(arguments.name)
    if arguments.name and not answer.modules:
        raise _explain_missing(arguments.name, answer)
    wide = arguments.output == OutputFormat.WIDE
    print_answer(
        arguments.output,
        data=lambda: to_json(answer),
        names=lambda: [module.name for module in answer.modules],
        lines=lambda: format_module(answer.modules[0]) if arguments.name else format_modules(answer, wide=wide),
    )
    return ExitCode.SUCCEEDED


def _format_info(
    info: job_service_pb2.GetServerInfoResponse, address: Address, milliseconds: float, *, wide: bool
) -> list[str]:
    up = format_duration((now() - to_datetime(info.start_time)).total_seconds())
    lines = [
        f"jobd {escape(info.version)} at {address}, up {up}, answered in {milliseconds:.1f} ms",
        f"jobs: {info.running_job_count} running, {info.queued_job_count} queued, on {info.capacity_cpus:g} cpus",
    ]
    if info.prefect_status:
        lines.append(f"prefect: {escape(info.prefect_status)}")
    if info.dashboard_url:
        lines.append(f"dashboard: {escape(info.dashboard_url)}")
    if info.caller:
        lines.append(f"you: {escape(info.caller)}, with the role {escape(info.role)}")
    if wide:
        rows = [(item.name, str(item.value), item.unit) for item in info.limits]
        lines += ["", *format_table([("LIMIT", "VALUE", "OF"), *rows])]
    return lines


def _explain_missing(name: str, answer: module_service_pb2.ListModulesResponse) -> ModuleUnknownError:
    reasons = "; ".join(f"{item.folder}: {', '.join(item.reasons)}" for item in answer.broken)
    return ModuleUnknownError(
        f"there is no module {name}", hint=f"broken: {reasons}" if reasons else "list them with: jobctl modules"
    )
