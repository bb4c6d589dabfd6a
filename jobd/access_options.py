"""The options of the command line that say who may call."""

import argparse
from pathlib import Path


def add_access(serve: argparse.ArgumentParser) -> None:
    """Add the options of `serve`."""
    add = serve.add_argument
    add(
        "--tls-cert", type=Path, metavar="FILE", help="the certificate of the TCP ports, PEM; read anew when it changes"
    )
    add("--tls-key", type=Path, metavar="FILE", help="its private key, PEM without a passphrase")
    add("--tls-client-ca", type=Path, metavar="FILE", help="clients must show a certificate of these authorities, PEM")
    add(
        "--tls-client-role",
        action="append",
        metavar="[NAME=]ROLE",
        help="what clients may do by their certificates: read, submit or admin; repeatable (submit)",
    )
    add(
        "--insecure",
        action="store_true",
        default=None,
        help="serve TCP without TLS also where other machines can reach it",
    )
    add("--max-queued", type=int, metavar="N", help="how many jobs may wait in the queue (10000)")
    add("--max-streams", type=int, metavar="N", help="how many watches, logs and downloads may be open (10000)")
    add("--max-streams-per-caller", type=int, metavar="N", help="how many of them by one identity (5000)")
    add("--max-uploads", type=int, metavar="N", help="how many uploads may be under way (256)")
    add("--max-uploads-per-caller", type=int, metavar="N", help="how many of them by one identity (128)")


def add_token(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the command `token`."""
    about = "make, list and revoke tokens for callers over TCP, whether a daemon runs or not"
    parser = commands.add_parser("token", help=about, description=about, allow_abbrev=False)
    actions = parser.add_subparsers(dest="token_command", required=True, metavar="ACTION")
    texts = {
        "create": "make a token and print it, this once, on standard output",
        "list": "list the tokens: name, role, when made, last used and ending",
        "revoke": "take a token back: calls with it are refused from now on",
    }
    added = {
        name: actions.add_parser(name, help=text, description=text, allow_abbrev=False) for name, text in texts.items()
    }
    for one in added.values():
        one.add_argument("--state-dir", type=Path, metavar="DIR", help="the state directory, as for serve")
    create = added["create"]
    create.add_argument("--name", required=True, help="whose it is; jobs submitted with it have this owner")
    create.add_argument("--role", required=True, choices=("read", "submit", "admin"), help="what it lets its holder do")
    create.add_argument("--expires", type=_days, metavar="DAYS", help="how long it holds (for ever)")
    added["revoke"].add_argument("name", metavar="NAME", help="the token")


def _days(text: str) -> float:
    days = float(text)
    if not 0 < days < 36_600:
        raise argparse.ArgumentTypeError(f"{text} is not between 0 and 36600")
    return days
