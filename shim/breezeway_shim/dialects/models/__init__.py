"""Models: the agents, as `GET /v1/models` shows them."""
