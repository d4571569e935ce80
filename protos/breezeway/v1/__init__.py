"""The contract: generated messages and services of `breezeway.v1`."""
