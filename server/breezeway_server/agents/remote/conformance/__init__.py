"""The conformance suite for agents in any language; docs/guides/remote-agents.md says what it asks for."""
