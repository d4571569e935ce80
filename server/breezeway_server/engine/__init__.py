"""The engine: one runner for each run, one supervisor for all."""
