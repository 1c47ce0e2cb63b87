"""A network that is worse than the loopback: slow to answer, narrow, and now and then cut."""
