"""Breezeway's server: owns runs, writes their logs, and serves both over gRPC."""

__version__ = "0.1.0"
