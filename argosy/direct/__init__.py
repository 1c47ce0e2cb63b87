"""Direct mode: the agent's own process moves the bytes."""
