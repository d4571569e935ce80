"""The official Node client and its helpers."""

from tests.e2e.clients.node import Node
from tests.support.model_server import ModelServer, answer, call, calls

MODULE = "openai"
CALL = call("weather", {"city": "Rome"}, call_id="call_a")


async def test_chat_completions_stream(node: Node, model: ModelServer) -> None:
    model.enqueue(answer("Hel", "lo"))
    seen = await node.run(MODULE, "chatStream")
    assert (seen["text"], seen["deltas"]) == ("Hello", ["Hel", "lo"])
    assert seen["completion"]["choices"][0]["finish_reason"] == "stop"


async def test_chat_completions_parse(node: Node, model: ModelServer) -> None:
    model.enqueue(answer('{"x":1,', '"y":2}'))
    assert await node.run(MODULE, "chatParse") == {"parsed": {"x": 1, "y": 2}}
    assert model.requests[0].body["response_format"]["json_schema"]["strict"] is True


async def test_chat_completions_run_tools(node: Node, model: ModelServer) -> None:
    model.enqueue(calls(CALL), answer("Sunny."))
    assert await node.run(MODULE, "chatTools") == {"asked": ["Rome"], "text": "Sunny."}
    assert model.requests[1].messages[-1]["content"] == "sunny in Rome"


async def test_responses_stream(node: Node, model: ModelServer) -> None:
    model.enqueue(answer("Hel", "lo"))
    seen = await node.run(MODULE, "responsesStream")
    assert seen["types"].count("response.output_text.delta") == 2
    assert seen["response"]["output_text"] == "Hello"


async def test_responses_stream_goes_on_from_an_event(node: Node, model: ModelServer) -> None:
    model.enqueue(answer("Hel", "lo"))
    seen = await node.run(MODULE, "responsesResume")
    assert seen["text"] == "Hello"
    assert seen["numbers"] == list(range(seen["numbers"][0], seen["numbers"][-1] + 1))


async def test_responses_parse(node: Node, model: ModelServer) -> None:
    model.enqueue(answer('{"x":1,', '"y":2}'))
    assert await node.run(MODULE, "responsesParse") == {"parsed": {"x": 1, "y": 2}}


async def test_responses_with_tools_and_raw_responses(node: Node, model: ModelServer) -> None:
    model.enqueue(calls(CALL), answer("Sunny."))
    seen = await node.run(MODULE, "responsesTools")
    assert seen["text"] == "Sunny."
    assert seen["requestId"] == seen["same"]


async def test_conversations(node: Node, model: ModelServer) -> None:
    model.enqueue(answer("Two."))
    assert await node.run(MODULE, "conversations") == {"types": ["user", "user", "assistant"], "deleted": True}


async def test_errors_are_the_clients_own(node: Node) -> None:
    assert (await node.run(MODULE, "errors"))["seen"] == [
        ["NotFoundError", 404, "model_not_found", "model", True],
        ["BadRequestError", 400, None, "temperature", True],
        ["BadRequestError", 400, "previous_response_not_found", "previous_response_id", True],
    ]
