"""What `-o` chooses. Light on purpose: the parser imports it."""

from enum import StrEnum


class OutputFormat(StrEnum):
    """How an answer is written on standard output."""

    TEXT = "text"
    """For a person."""
    TABLE = "table"
    """For a person, in columns."""
    WIDE = "wide"
    """For a person with a wide terminal: more columns."""
    JSON = "json"
    """For scripts: the protobuf JSON mapping with the names of the .proto files."""
    YAML = "yaml"
    """The same as YAML."""
    NAME = "name"
    """What other commands take: ids, or the names of modules, one a line."""


PLAIN = (OutputFormat.TEXT, OutputFormat.JSON)
"""What commands offer whose answer is no list of things."""
RICH = (OutputFormat.TABLE, OutputFormat.WIDE, OutputFormat.JSON, OutputFormat.YAML, OutputFormat.NAME)
"""What commands offer that tell about jobs or modules."""
