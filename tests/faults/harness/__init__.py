"""The proof that nothing is lost and nothing is left behind: `docs/faults.md`.

The real stack carries a random load while it is broken at random. What was asked and answered
stands in a journal of the harness's own, and in the end that is compared, from outside, with
the rows, the results, and the stored bytes.
"""
