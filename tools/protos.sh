#!/bin/sh
# Generates the stubs of protos/, and the descriptor set, into the folder given (default: protos/, where they are committed).
set -eu
cd "$(dirname "$0")/.."
bin=$PWD/.venv/bin
out=${1:-protos}
mkdir -p "$out/jobapi/v1"
PATH="$bin:$PATH" "$bin/python" -m grpc_tools.protoc -I protos \
    --python_out="$out" --grpc_python_out="$out" --mypy_out="quiet:$out" --mypy_grpc_out="quiet:$out" \
    protos/jobapi/v1/*.proto
# For clients that have no .proto files: grpcurl -protoset, buf, reflection of every other kind. With the comments.
"$bin/python" -m grpc_tools.protoc -I protos --include_imports --include_source_info \
    --descriptor_set_out="$out/jobapi/descriptors.binpb" protos/jobapi/v1/*.proto
# A file without a service needs no service stubs.
rm -f "$out"/jobapi/v1/job_pb2_grpc.py "$out"/jobapi/v1/job_pb2_grpc.pyi
: > "$out/jobapi/__init__.py"
: > "$out/jobapi/v1/__init__.py"
: > "$out/jobapi/py.typed"
