"""The command line of jobd, and its Python client."""

__version__ = "0.1.0"
