"""Profiles: agents that are created, changed and deleted while the server runs."""
