"""One machine standing in for the whole deployment; only the tests and the Makefile know it."""
