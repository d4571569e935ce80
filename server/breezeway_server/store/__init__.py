"""Stores: where logged runs outlive the process."""
