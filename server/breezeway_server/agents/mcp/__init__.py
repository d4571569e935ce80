"""Servers that speak the Model Context Protocol, and their tools."""
