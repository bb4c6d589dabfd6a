#!/bin/sh
# Generates the stubs into jobapi/v1 with the plugins that go.mod pins. PROTOC may name another protoc,
# for instance "python -m grpc_tools.protoc", and PROTOS another folder of .proto files.
set -eu
cd "$(dirname "$0")"
protos=${PROTOS:-../../protos}
package=jobd/client/go/jobapi/v1

export GOBIN="$PWD/bin"
go install tool

set -- --proto_path="$protos"
for file in "$protos"/jobapi/v1/*.proto; do
    name=jobapi/v1/$(basename "$file")
    set -- "$@" --go_opt="M$name=$package" --go-grpc_opt="M$name=$package" "$name"
done
# shellcheck disable=SC2086 # PROTOC may be a command with arguments
${PROTOC:-protoc} --plugin=protoc-gen-go=bin/protoc-gen-go --plugin=protoc-gen-go-grpc=bin/protoc-gen-go-grpc \
    --go_out=. --go_opt=module=jobd/client/go --go-grpc_out=. --go-grpc_opt=module=jobd/client/go "$@"
