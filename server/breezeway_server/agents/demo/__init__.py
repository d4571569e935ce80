"""The demo agent: the embedded default, which needs no model and no network, and says so."""
