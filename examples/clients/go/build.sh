#!/bin/sh
# Builds the client as $1/client, and all it needs on the way in $1: protoc's Go plugins and the stubs.
# PROTOC is how protoc is called, e.g. "python -m grpc_tools.protoc"; the protos lie in PROTOS,
# and google/api and google/rpc in GOOGLEAPIS: a checkout of googleapis, or Python's site-packages beside Breezeway.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
mkdir -p "$1"
out=$(cd "$1" && pwd)
protos=${PROTOS:-$here/../../../protos}

cp "$here/go.mod" "$here/go.sum" "$here/main.go" "$out"
cd "$out"
GOBIN=$out go install tool

set -- --plugin="$out/protoc-gen-go" --plugin="$out/protoc-gen-go-grpc"
for name in event item run stream_service; do
  package="Mbreezeway/v1/$name.proto=example.com/breezeway/client/v1"
  set -- "$@" --go_opt="$package" --go-grpc_opt="$package"
done
# shellcheck disable=SC2086 # PROTOC may be several words.
${PROTOC:-protoc} -I"$protos" -I"$GOOGLEAPIS" "$@" \
  --go_out=. --go_opt=module=example.com/breezeway/client \
  --go-grpc_out=. --go-grpc_opt=module=example.com/breezeway/client \
  breezeway/v1/event.proto breezeway/v1/item.proto breezeway/v1/run.proto breezeway/v1/stream_service.proto
go build -o client .
