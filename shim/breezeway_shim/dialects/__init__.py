"""The dialects: OpenAI's APIs, each a folder of schema, request, projection and handler."""
