"""Breezeway's shim: OpenAI's REST and SSE in front, gRPC behind; it holds no state."""
