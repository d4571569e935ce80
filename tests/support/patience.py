"""How long tests wait for what always happens, unless the product is broken."""

PATIENCE = 60.0
"""Seconds. Of a machine that has other things to do: whoever is slower is broken and not busy, so it is told instead of
waited for. It guards and measures nothing: what a test makes happen, happens by an event or by a `HeldClock`."""
