"""``fmirun``: run the ranks of a job as processes of this machine.

Rules of this package:
- One process, one thread, one selector; whatever waits is a callback or a deadline in ``job``.
- numpy is not imported: the launcher starts in milliseconds.
- Nothing is left behind: no process, socket or directory, however the job or the launcher ends.
"""
