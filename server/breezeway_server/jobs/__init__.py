"""Jobs: runs on a schedule."""
