"""The client that a command line asks for."""

from jobctl.arguments import Arguments
from jobctl.client import Client


def connect(arguments: Arguments) -> Client:
    """Find the daemon by the options that every command has; the connection is made with the first call."""
    return Client.connect(
        arguments.address,
        arguments.token_file,
        context=arguments.context,
        tls_ca=arguments.tls_ca,
        tls_cert=arguments.tls_cert,
        tls_key=arguments.tls_key,
    )
