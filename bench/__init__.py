"""Measurements: `python -m bench`. What they mean stands in README.md beside this file."""
