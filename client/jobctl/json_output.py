"""Messages as JSON for scripts: the protobuf JSON mapping with the names of the .proto files.

It departs from that mapping in one point: 64-bit integers are numbers, not strings, so that `jq` can compare them.
"""

import json
from collections.abc import Iterable
from typing import TYPE_CHECKING, TypeAlias

from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.json_format import MessageToDict
from google.protobuf.message import Message
from jobapi.v1 import job_pb2

Json: TypeAlias = "bool | int | float | str | list[Json] | dict[str, Json] | None"
if TYPE_CHECKING:
    # The type stubs know two families of descriptors: of pure Python, and of the C library.
    from google._upb import _message as upb
    from google.protobuf import descriptor as pure

    _Descriptor: TypeAlias = pure.Descriptor | upb.Descriptor
    _Field: TypeAlias = pure.FieldDescriptor | upb.FieldDescriptor

_WIDE = {FieldDescriptor.CPPTYPE_INT64, FieldDescriptor.CPPTYPE_UINT64}


def to_json(message: Message) -> dict[str, Json]:
    """Give a message as plain data; fields at their default are there, absent messages are not."""
    data: dict[str, Json] = MessageToDict(
        message, preserving_proto_field_name=True, always_print_fields_with_no_presence=True
    )
    _narrow(data, message.DESCRIPTOR)
    return data


def event_to_json(event: job_pb2.Event) -> dict[str, Json]:
    """Give an event as plain data; `type` names what happened, `unknown` when it is newer than this jobctl."""
    return {"type": event.WhichOneof("kind") or "unknown", **to_json(event)}


def dump_line(data: Json) -> str:
    """Write data as one line of ASCII."""
    return json.dumps(data, separators=(", ", ": "))


def dump_document(data: Json) -> str:
    """Write data as an indented document in ASCII."""
    return json.dumps(data, indent=2)


def _narrow(data: dict[str, Json], descriptor: "_Descriptor") -> None:
    for field in descriptor.fields:
        if field.name not in data or _is_map(field):
            continue
        if field.cpp_type in _WIDE:
            data[field.name] = _to_numbers(data[field.name])
        elif field.message_type and not field.message_type.full_name.startswith("google.protobuf."):
            for item in _list_objects(data[field.name]):
                _narrow(item, field.message_type)


def _is_map(field: "_Field") -> bool:
    return bool(field.message_type and field.message_type.GetOptions().map_entry)


def _to_numbers(value: Json) -> Json:
    if isinstance(value, list):
        return [_to_numbers(item) for item in value]
    return int(value) if isinstance(value, str) else value


def _list_objects(value: Json) -> Iterable[dict[str, Json]]:
    items = value if isinstance(value, list) else [value]
    return [item for item in items if isinstance(item, dict)]
