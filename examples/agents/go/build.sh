#!/bin/sh
# Builds the agent as $1/agent, and all it needs on the way in $1: protoc's Go plugins and the stubs.
# PROTOC is how protoc is called, e.g. "python -m grpc_tools.protoc"; the protos lie in PROTOS.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
mkdir -p "$1"
out=$(cd "$1" && pwd)
protos=${PROTOS:-$here/../../../protos}

cp "$here/go.mod" "$here/go.sum" "$here/main.go" "$out"
cd "$out"
GOBIN=$out go install tool

set -- --plugin="$out/protoc-gen-go" --plugin="$out/protoc-gen-go-grpc"
for name in agent agent_service item run; do
  package="Mbreezeway/v1/$name.proto=example.com/breezeway/agent/v1"
  set -- "$@" --go_opt="$package" --go-grpc_opt="$package"
done
# shellcheck disable=SC2086 # PROTOC may be several words.
${PROTOC:-protoc} -I"$protos" "$@" \
  --go_out=. --go_opt=module=example.com/breezeway/agent \
  --go-grpc_out=. --go-grpc_opt=module=example.com/breezeway/agent \
  breezeway/v1/agent.proto breezeway/v1/agent_service.proto breezeway/v1/item.proto breezeway/v1/run.proto
go build -o agent .
