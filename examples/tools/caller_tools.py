"""A tool of the caller's own: the model asks for it, this program carries it out and says what came of it.

Run it against any agent: OPENAI_BASE_URL=http://127.0.0.1:8642/v1 OPENAI_API_KEY=none python caller_tools.py demo
"""

import json
import sys

from openai import OpenAI
from openai.types.chat import ChatCompletionFunctionToolParam, ChatCompletionMessageParam

LOOK: ChatCompletionFunctionToolParam = {
    "type": "function",
    "function": {
        "name": "look",
        "description": "Looks out of the window.",
        "parameters": {"type": "object", "properties": {"direction": {"type": "string"}}, "required": ["direction"]},
    },
}


def look(direction: str) -> str:
    return f"a tree (towards {direction})"


def main(model: str) -> None:
    client = OpenAI()
    messages: list[ChatCompletionMessageParam] = [{"role": "user", "content": "Please use look, and say what you see."}]
    while True:
        choice = client.chat.completions.create(model=model, messages=messages, tools=[LOOK]).choices[0]
        messages.append(choice.message.model_dump(exclude_none=True))  # type: ignore[arg-type]  # the SDK's own way
        if choice.finish_reason != "tool_calls":
            print(choice.message.content)
            return
        for call in choice.message.tool_calls or ():
            if call.type == "function":
                output = look(**json.loads(call.function.arguments))
                messages.append({"role": "tool", "tool_call_id": call.id, "content": output})


if __name__ == "__main__":
    main(sys.argv[1])
