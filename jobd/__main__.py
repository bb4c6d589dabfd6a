"""The command `jobd`."""

import argparse
import asyncio
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from jobd.access_options import add_access, add_token
from jobd.module_options import add_module_commands

Arguments = dict[str, Any]
"""What the command line says, as argparse gives it."""

EXIT_OK, EXIT_FAILED, EXIT_USAGE = 0, 1, 2

_SERVE_HELP = """\
Every option has an environment variable, JOBD_ and its name in capitals, and a key in the TOML file
($JOBD_CONFIG, else $XDG_CONFIG_HOME/jobd/config.toml). Flags come before the environment, which comes before the file.
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; gives its exit code."""
    arguments = vars(_parser().parse_args(argv))
    command = arguments.pop("command")
    # Nothing is forked here, and gRPC's handlers for forks cost and complain.
    os.environ.setdefault("GRPC_ENABLE_FORK_SUPPORT", "0")
    os.umask(0o077)  # what a job holds is its submitter's and the daemon's affair
    from jobd import errors  # noqa: PLC0415 - so that --help is quick

    try:
        commands = {"serve": _serve, "backup": _backup, "check": _check, "token": _token, "secret": _secret}
        commands |= {"module": _module, "schema": _schema}
        return commands[command](arguments)
    except ModuleNotFoundError as error:
        print(f"jobd: {error.name} is missing: install this distribution with its extra [daemon]", file=sys.stderr)
        return EXIT_FAILED
    except errors.ConfigError as error:
        print(f"jobd: {error}", file=sys.stderr)
        return EXIT_USAGE
    except (errors.JobdError, OSError) as error:
        print(f"jobd: {error}", file=sys.stderr)
        return EXIT_FAILED


def _serve(arguments: Arguments) -> int:
    from jobd import config, daemon, logs  # noqa: PLC0415 - only this command needs all of it

    settings = config.load({name: value for name, value in arguments.items() if value is not None})
    logs.configure(settings.log_format, settings.log_level)
    asyncio.run(daemon.serve(settings))
    return EXIT_OK


def _backup(arguments: Arguments) -> int:
    from jobd import backup  # noqa: PLC0415 - only this command needs it

    made = backup.run(_state_dir(arguments), arguments["target"].absolute(), artifacts=arguments["artifacts"])
    print(f"{made.jobs} jobs, {made.size_bytes} bytes, checked, in {arguments['target']}")
    return EXIT_OK


def _check(arguments: Arguments) -> int:
    from jobd import check  # noqa: PLC0415 - only this command needs it

    return EXIT_FAILED if check.run(_state_dir(arguments), repair=arguments["repair"]) else EXIT_OK


def _secret(arguments: Arguments) -> int:
    from jobd import secret_commands  # noqa: PLC0415 - only this command needs it

    folder = _secrets_dir(arguments)
    match arguments["secret_command"]:
        case "set":
            secret_commands.store(folder, arguments["name"])
        case "remove":
            secret_commands.remove(folder, arguments["name"])
        case _:
            print("".join(f"{name}\n" for name in secret_commands.listed(folder)), end="")
    return EXIT_OK


def _secrets_dir(arguments: Arguments) -> Path:
    from jobd import config, layout  # noqa: PLC0415 - so that --help is quick

    given = {name: arguments[name] for name in ("state_dir", "secrets_dir") if arguments[name] is not None}
    settings = config.load(given)
    return settings.secrets_dir or layout.StateDirectory(settings.state_dir).secrets


def _token(arguments: Arguments) -> int:
    from jobd import token_commands  # noqa: PLC0415 - only this command needs it

    folder = _state_dir(arguments)
    match arguments["token_command"]:
        case "create":
            print(token_commands.create(folder, arguments["name"], arguments["role"], arguments["expires"]))
        case "revoke":
            token_commands.revoke(folder, arguments["name"])
        case _:
            print("\n".join(token_commands.listed(folder)))
    return EXIT_OK


def _module(arguments: Arguments) -> int:
    from jobd import module_commands  # noqa: PLC0415 - only this command needs it

    return module_commands.perform(arguments)


def _schema(arguments: Arguments) -> int:
    from jobd import json_schema  # noqa: PLC0415 - only this command needs it

    print(json_schema.write(json_schema.Format(arguments["format"])), end="")
    return EXIT_OK


def _state_dir(arguments: Arguments) -> Path:
    from jobd import config  # noqa: PLC0415 - so that --help is quick

    given = arguments["state_dir"]
    return config.load({} if given is None else {"state_dir": given}).state_dir


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="jobd", description="Run jobs of media modules.", allow_abbrev=False)
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    serve = commands.add_parser(
        "serve",
        help="run the daemon in the foreground",
        epilog=_SERVE_HELP,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    add = serve.add_argument
    add("--state-dir", type=Path, metavar="DIR", help="where everything is kept (~/.local/state/jobd)")
    add(
        "--modules",
        type=Path,
        action="append",
        metavar="DIR",
        help="where modules are looked for; repeatable (modules)",
    )
    add(
        "--listen",
        action="append",
        metavar="ADDR",
        help="unix:PATH or HOST:PORT; repeatable (a socket and 127.0.0.1:50051)",
    )
    add_access(serve)
    _add_containment(serve)
    add("--prefect-api-url", metavar="URL", help="use this Prefect server instead of starting one")
    add("--prefect-port", type=int, metavar="N", help="port of the embedded Prefect server; 0 for any free one (4200)")
    add(
        "--prefect-grace",
        type=float,
        metavar="SECONDS",
        help="how long a job waits for Prefect before it runs without it; its run is recorded afterwards (20)",
    )
    add(
        "--most-active",
        type=int,
        metavar="N",
        help="so many jobs run at once before others wait for what these leave free (64)",
    )
    add(
        "--ageing",
        type=float,
        metavar="SECONDS",
        help="a job that waits this long counts as one priority higher, and so on (600)",
    )
    add(
        "--capacity",
        metavar="WHAT",
        help="what entries may use at once: cpus=N,memory=8GiB,gpus=N,NAME=N (this machine's cpus)",
    )
    add("--reserve", metavar="SIZE", help="how much of the disk stays free (1GiB or 5 %%, whichever is smaller)")
    add(
        "--keep-jobs", type=float, metavar="DAYS", help="how long an ended job and its results are kept; 0 for ever (0)"
    )
    add("--keep-failed", type=float, metavar="DAYS", help="how long a job stays ready for a retry (7)")
    add("--keep-logs", type=float, metavar="DAYS", help="how long logs of an ended job are kept (30)")
    add("--keep-uploads", type=float, metavar="HOURS", help="how long an upload waits for its first job (24)")
    add("--keep-partial-uploads", type=float, metavar="HOURS", help="how long an interrupted upload can be resumed (1)")
    add("--most-jobs", type=int, metavar="N", help="how many ended jobs are kept; 0 for any number (50000)")
    add("--most-bytes", metavar="SIZE", help="what ended jobs may take on disk together; 0 for any amount (0)")
    add("--metrics", metavar="[HOST:]PORT", help="serve metrics to Prometheus over HTTP at this address (nowhere)")
    add("--tracing", metavar="URL", help="send traces to this OTLP/HTTP collector, such as http://127.0.0.1:4318")
    add("--log-format", choices=("auto", "console", "json"), help="of the daemon's own log (auto)")
    add("--log-level", choices=("debug", "info", "warning", "error"), help="of the daemon's own log (info)")
    _add_upkeep(commands)
    add_token(commands)
    _add_secret(commands)
    add_module_commands(commands)
    return parser


def _add_containment(serve: argparse.ArgumentParser) -> None:
    add = serve.add_argument
    add(
        "--allow-root",
        type=Path,
        action="append",
        metavar="DIR",
        help="input files may be named by path below DIR; repeatable (any path over the unix socket, none over TCP)",
    )
    add("--secrets-dir", type=Path, metavar="DIR", help="where the secrets are (`secrets` in the state directory)")
    add(
        "--sandbox",
        choices=("off", "auto", "require"),
        help="run modules in a sandbox: never, those whose manifest asks for it, or all (auto)",
    )
    add("--run-as", metavar="USER", help="run modules as this user; needs a daemon that is started as root")


def _add_secret(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    about = "store, list and remove the secrets that manifests ask for by name"
    parser = commands.add_parser("secret", help=about, description=about, allow_abbrev=False)
    actions = parser.add_subparsers(dest="secret_command", required=True, metavar="ACTION")
    texts = {
        "set": "store a secret, whose value is read from standard input",
        "list": "list the names of all secrets",
        "remove": "remove a secret",
    }
    for name, text in texts.items():
        one = actions.add_parser(name, help=text, description=text, allow_abbrev=False)
        one.add_argument("--state-dir", type=Path, metavar="DIR", help="the state directory, as for serve")
        one.add_argument("--secrets-dir", type=Path, metavar="DIR", help="the folder of the secrets, as for serve")
        if name != "list":
            one.add_argument("name", metavar="NAME", help="the secret")


def _add_upkeep(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    state_help = "the state directory, as for serve"
    about = "copy a state directory, also while a daemon serves it"
    backup = commands.add_parser("backup", help=about, description=about, allow_abbrev=False)
    backup.add_argument("--state-dir", type=Path, metavar="DIR", help=state_help)
    backup.add_argument("--artifacts", action="store_true", help="copy the artifacts that are present as well")
    backup.add_argument("target", type=Path, metavar="TARGET", help="the folder to make")
    about = "compare the store with itself, with the disk and with what runs; exit 1 when something is found"
    check = commands.add_parser("check", help=about, description=about, allow_abbrev=False)
    check.add_argument("--state-dir", type=Path, metavar="DIR", help=state_help)
    check.add_argument("--repair", action="store_true", help="mend what can be mended; no daemon may serve it")


if __name__ == "__main__":
    sys.exit(main())
