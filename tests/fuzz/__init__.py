"""Fuzzing of everything that reads what a stranger, or a broken peer, may have written; see ``__main__``."""
