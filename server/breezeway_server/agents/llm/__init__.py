"""The llm agent: model call, tool calls, repeat, against any OpenAI-compatible chat-completions upstream."""
