"""The pool: its identity, its generations, and samples of its inventory."""
