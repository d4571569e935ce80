"""A coding agent's way with Responses, as Codex has it: nothing stored, everything streamed, all items passed back."""

from typing import Any

from openai import AsyncOpenAI

from tests.support.model_server import DONE, ModelServer, Stream, answer, call, finish, reasoning, text

SHELL: Any = {
    "type": "function",
    "name": "shell",
    "description": "Runs a command.",
    "strict": False,
    "parameters": {
        "type": "object",
        "properties": {"command": {"type": "array", "items": {"type": "string"}}},
        "required": ["command"],
        "additionalProperties": False,
    },
}


async def test_a_task_in_three_turns(client: AsyncOpenAI, model: ModelServer) -> None:
    model.enqueue(
        Stream(
            [
                *reasoning("First look."),
                *text("Let me see."),
                *call("shell", {"command": ["ls"]}, call_id="call_a"),
                finish("tool_calls"),
                DONE,
            ]
        ),
        Stream([*call("shell", {"command": ["cat", "a"]}, call_id="call_b"), finish("tool_calls"), DONE]),
        answer("Done."),
    )
    items: list[Any] = [
        {"type": "message", "role": "developer", "content": [{"type": "input_text", "text": "<permissions>"}]},
        {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "What is in a?"}]},
    ]
    last = None
    for output in ("a b", "hello", None):
        stream = await client.responses.create(
            model="assistant",
            instructions="You are a coding agent.",
            input=items,
            tools=[SHELL],
            tool_choice="auto",
            parallel_tool_calls=False,
            reasoning={"effort": "medium", "summary": "auto"},
            store=False,
            stream=True,
            include=["reasoning.encrypted_content"],
            prompt_cache_key="session-1",
            text={"verbosity": "low"},
        )
        async with stream:
            async for event in stream:
                if event.type == "response.output_item.done":
                    items.append(event.item.model_dump(exclude_unset=True))
                last = event
        if output is not None:
            items.append({"type": "function_call_output", "call_id": items[-1]["call_id"], "output": output})
    assert last is not None
    assert last.type == "response.completed"
    assert last.response.output_text == "Done."
    for request in model.requests:
        assert request.messages[0] == {"role": "system", "content": "You are a coding agent."}
        assert request.body["prompt_cache_key"] == "session-1"
        assert request.body["reasoning_effort"] == "medium"
        assert request.body["parallel_tool_calls"] is False
    _, developer, user, *rest = model.requests[2].messages
    assert (developer["content"], user["content"]) == ("<permissions>", "What is in a?")
    assert [(each["role"], each.get("content")) for each in rest] == [
        ("assistant", "Let me see."),
        ("tool", "a b"),
        ("assistant", None),
        ("tool", "hello"),
    ]
