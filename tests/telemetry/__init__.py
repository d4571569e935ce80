"""Tests of what server and shim say of themselves."""
