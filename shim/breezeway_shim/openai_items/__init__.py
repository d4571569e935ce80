"""Items as OpenAI's Responses and Conversations write them: `listed` from protos, `requested` to protos."""
