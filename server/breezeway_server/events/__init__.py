"""Events: the log of a run, what may follow what in it, and its fold."""
