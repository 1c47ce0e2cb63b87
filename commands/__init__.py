"""The command line `argosy`: one command, one file; `table.py` names them all."""
