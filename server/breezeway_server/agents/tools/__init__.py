"""What a model may call: the operator's Python functions, and all that other places bring."""
