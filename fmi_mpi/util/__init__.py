"""Utilities on top of ``MPI``; each is a module to be imported by name."""
