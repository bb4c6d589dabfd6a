"""The options of `jobd module` and `jobd schema`. Light on purpose: `jobd --help` imports this."""

import argparse
from pathlib import Path


def add_module_commands(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add `module new`, `check` and `run`, and `schema`."""
    about = "print the JSON Schema of job files or of manifests, for editors"
    schema = commands.add_parser("schema", help=about, description=about, allow_abbrev=False)
    schema.add_argument("format", choices=("job", "manifest"), help="job or manifest")
    about = "make, check and run modules, without a daemon"
    module = commands.add_parser("module", help=about, description=about, allow_abbrev=False)
    actions = module.add_subparsers(dest="module_command", required=True, metavar="ACTION")
    about = "make the folder of a new module: a manifest, a script that runs, and a test; prints the folder"
    new = actions.add_parser("new", help=about, description=about, allow_abbrev=False)
    new.add_argument("name", metavar="NAME", help="what jobs are to call it")
    new.add_argument(
        "--to", type=Path, metavar="DIR", default=Path(), help="where to make the folder (the current one)"
    )
    about = "say what a daemon would say of modules, with file and line, and whether their scripts compile"
    check = actions.add_parser("check", help=about, description=about, allow_abbrev=False)
    check.add_argument("paths", type=Path, metavar="PATH", nargs="+", help="the folder of a module, or one above many")
    _add_run(actions)


def _add_run(actions: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    about = "run one module by the daemon's rules; its log goes to standard error, the paths of its results are printed"
    run = actions.add_parser("run", help=about, description=about, allow_abbrev=False)
    run.add_argument("path", type=Path, metavar="PATH", help="the folder of the module")
    add = run.add_argument
    add("--input", metavar="PARAM=PATH", action="append", default=[], help="a file or folder; may be repeated")
    add("--param", metavar="NAME=VALUE", action="append", default=[], help="an option of the module; may be repeated")
    add("--output", metavar="PARAM=NAME", action="append", default=[], help="what to call a result (its parameter)")
    add("--to", type=Path, metavar="DIR", default=Path(), help="where results are put (the current folder)")
    add("--force", action="store_true", help="replace results that are there")
