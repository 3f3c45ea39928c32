"""The thin impure loop: a client of the keeper that drives, injects, records and asks the checkers."""
