"""The grpc agent: a remote `AgentService` in any language."""
