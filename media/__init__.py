"""What a file is by its bytes, and what can be made of it: no network, no database."""
