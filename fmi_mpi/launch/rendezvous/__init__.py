"""The rendezvous service: where the ranks of jobs that span hosts find each other.

``registry`` and ``job`` are the rules, without sockets or clocks; ``messages`` is what may be said; ``server`` is the
loop over zmq; ``relay`` carries data for pairs that cannot connect.
"""
