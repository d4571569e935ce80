"""Agents: they say steps (`steps`), and know nothing of logs, stores or wires."""
