"""Files of every kind that an agent may send, made by these scripts, and what must come of each."""
