"""Garbage over gRPC: bytes that are no message, to every method, and bytes that are no HTTP/2, to the port."""

import asyncio
from collections.abc import Callable, Sequence
from random import Random
from typing import Any

import grpc
from breezeway.v1 import (
    agent_registry_service_pb2,
    job_service_pb2,
    key_service_pb2,
    operations_service_pb2,
    run_service_pb2,
    store_service_pb2,
    stream_service_pb2,
)
from google.protobuf.descriptor import Descriptor, FieldDescriptor, MethodDescriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass

METHODS: Sequence[MethodDescriptor] = [
    method
    for file in (
        agent_registry_service_pb2,
        job_service_pb2,
        key_service_pb2,
        operations_service_pb2,
        run_service_pb2,
        store_service_pb2,
        stream_service_pb2,
    )
    for service in file.DESCRIPTOR.services_by_name.values()
    for method in service.methods
]
_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
_CALL_SECONDS = 5.0
_TEXTS = ("", "x", "..", "\x00", "run_" + "0" * 32, "é" * 200, "a/b", "-1", "x" * 10_000, "9" * 30, "*", "demo")
_DEEPEST = 4
# A key that was made by chance would shut everybody else out.
_SPARED = {"CreateKey", "RotateKey"}


def garbage(random: Random) -> tuple[MethodDescriptor, bytes]:
    """A method, and bytes that are no request of it, or a request that makes no sense."""
    method = random.choice(METHODS)
    return method, garbage_for(method, random)


def garbage_for(method: MethodDescriptor, random: Random) -> bytes:
    """Bytes for a request of the method: noise, a broken message, or a whole one with nonsense in it."""
    kind = random.randrange(4)
    if kind == 0 or method.name in _SPARED:
        # A field of group type that never ends: no message at all, whatever follows.
        return b"\x0b" + random.randbytes(random.randint(0, 200))
    if kind == 1:
        return random.randbytes(random.randint(1, 200))
    message = nonsense(method.input_type, random).SerializeToString()
    if kind == 2 and message:
        return message[: random.randrange(len(message))]
    return message


async def call(
    given: grpc.aio.Channel, method: MethodDescriptor, data: bytes, *, seconds: float = _CALL_SECONDS
) -> grpc.StatusCode:
    """The status of a call with these bytes as its one request."""
    # Its stubs know no calls whose requests are bytes as they are.
    channel: Any = given
    path = f"/{method.containing_service.full_name}/{method.name}"
    try:
        if method.client_streaming:
            async for _ in channel.stream_stream(path)(iter([data]), timeout=seconds):
                pass
        elif method.server_streaming:
            async for _ in channel.unary_stream(path)(data, timeout=seconds):
                pass
        else:
            await channel.unary_unary(path)(data, timeout=seconds)
    except grpc.aio.AioRpcError as error:
        return error.code()
    return grpc.StatusCode.OK


async def send_noise(port: int, random: Random) -> None:
    """Open a connection, send bytes that are no HTTP/2 or the start of some, and leave."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(random.choice([b"", _PREFACE, _PREFACE[:10]]) + random.randbytes(random.randint(1, 500)))
        await writer.drain()
        async with asyncio.timeout(0.05):
            await reader.read(1000)
    except (ConnectionError, TimeoutError):
        pass
    finally:
        writer.close()


def nonsense(kind: Descriptor, random: Random, depth: int = 0) -> Message:
    """A message of that kind, with some of its fields set to anything."""
    message: Message = GetMessageClass(kind)()
    for field in kind.fields:
        if random.random() < 0.5 or (field.message_type is not None and depth >= _DEEPEST):
            continue
        if field.message_type is not None and field.message_type.GetOptions().map_entry:
            continue
        _set(message, field, random, depth)
    return message


def _set(message: Message, field: FieldDescriptor, random: Random, depth: int) -> None:
    def value() -> Any:
        if field.message_type is not None:
            return nonsense(field.message_type, random, depth + 1)
        return _SCALARS[field.cpp_type](field, random)

    if field.is_repeated:
        getattr(message, field.name).extend(value() for _ in range(random.randint(0, 3)))
    elif field.message_type is not None:
        getattr(message, field.name).CopyFrom(value())
    else:
        setattr(message, field.name, value())


def _integer(low: int, high: int) -> Callable[[FieldDescriptor, Random], int]:
    return lambda _, random: random.choice([low, high, 0, 1, random.randint(low, high)])


def _float(_: FieldDescriptor, random: Random) -> float:
    return random.choice([0.0, -1.0, 1e30, float("nan"), float("inf"), random.random()])


def _text(field: FieldDescriptor, random: Random) -> str | bytes:
    text = random.choice(_TEXTS)
    return text.encode() if field.type == FieldDescriptor.TYPE_BYTES else text


_SCALARS: dict[int, Callable[[FieldDescriptor, Random], Any]] = {
    FieldDescriptor.CPPTYPE_INT32: _integer(-(2**31), 2**31 - 1),
    FieldDescriptor.CPPTYPE_INT64: _integer(-(2**63), 2**63 - 1),
    FieldDescriptor.CPPTYPE_UINT32: _integer(0, 2**32 - 1),
    FieldDescriptor.CPPTYPE_UINT64: _integer(0, 2**64 - 1),
    FieldDescriptor.CPPTYPE_ENUM: _integer(-(2**31), 2**31 - 1),
    FieldDescriptor.CPPTYPE_DOUBLE: _float,
    FieldDescriptor.CPPTYPE_FLOAT: _float,
    FieldDescriptor.CPPTYPE_BOOL: lambda _, random: random.random() < 0.5,
    FieldDescriptor.CPPTYPE_STRING: _text,
}
