"""The places where bytes from outside are read first, each as a function that takes any bytes and breaks of none."""

from collections.abc import Callable, Mapping
from contextlib import suppress

from breezeway.v1 import event_pb2, item_pb2, run_service_pb2, store_service_pb2
from breezeway_server.agents.llm.errors import UpstreamError
from breezeway_server.agents.llm.reader import StepReader
from breezeway_server.agents.llm.redaction import Redactor
from breezeway_server.agents.llm.stream import ModelStream
from breezeway_server.events import framing
from breezeway_shim.dialects.chat_completions import request as chat_completions
from breezeway_shim.dialects.responses import request as responses
from breezeway_shim.dialects.runs import request as runs
from breezeway_shim.errors import ApiError
from breezeway_shim.transcoding.faults import Fault
from breezeway_shim.transcoding.json_in import decode_json, merge_json
from breezeway_shim.transcoding.query import read_query
from breezeway_shim.transcoding.routing import NoSuchMethod, NoSuchPath, Router
from breezeway_shim.transcoding.rules import routes_of
from google.protobuf.message import DecodeError

_ROUTER = Router(
    [
        route
        for file in (run_service_pb2, store_service_pb2)
        for service in file.DESCRIPTOR.services_by_name.values()
        for route in routes_of(service)
    ]
)
_RUNS = run_service_pb2.ListRunsRequest.DESCRIPTOR


def upstream(data: bytes) -> None:
    """What a model's provider streams. Its first byte says how long the pieces are in which the rest comes."""
    fold = ModelStream(
        "m", executor_of=lambda _: item_pb2.EXECUTOR_SERVER, taken=set(), redact=Redactor(["key-0123456789abcdef"])
    )
    reader = StepReader("m", fold)
    size, body = (data[0] or 1, data[1:]) if data else (1, b"")
    for start in range(0, len(body), size):
        reader.feed(body[start : start + size])
        if reader.fault is not None or fold.done:
            break
    with suppress(UpstreamError):
        reader.finish()


def frames(data: bytes) -> None:
    """What the store has of a log."""
    with suppress(DecodeError):
        framing.decode(data)


def event(data: bytes) -> None:
    """One event by itself."""
    with suppress(DecodeError):
        event_pb2.RunEvent.FromString(data)


def native_body(data: bytes) -> None:
    """The body of a native call over HTTP."""
    with suppress(Fault):
        merge_json(run_service_pb2.CreateRunRequest(), decode_json(data))


def native_query(data: bytes) -> None:
    """The query of a native call over HTTP."""
    with suppress(Fault):
        merge_json(run_service_pb2.ListRunsRequest(), read_query(_text(data), _RUNS, ()))


def native_path(data: bytes) -> None:
    """The path of a native call over HTTP."""
    with suppress(NoSuchPath, NoSuchMethod, UnicodeDecodeError):
        _ROUTER.find("GET", "/" + _text(data))


def _text(data: bytes) -> str:
    # As aiohttp decodes what stands in the first line of a request.
    return data.decode("utf-8", "surrogateescape")


def _parsing(parse: Callable[[bytes], object]) -> Callable[[bytes], None]:
    def entry(data: bytes) -> None:
        with suppress(ApiError):
            parse(data)

    return entry


ENTRIES: Mapping[str, Callable[[bytes], None]] = {
    "upstream": upstream,
    "frames": frames,
    "event": event,
    "native-body": native_body,
    "native-query": native_query,
    "native-path": native_path,
    "chat-completions": _parsing(chat_completions.parse),
    "responses": _parsing(responses.parse),
    "runs": _parsing(runs.parse),
}


if __name__ == "__main__":
    print(*ENTRIES, sep="\n")  # noqa: T201 - for `make fuzz`
