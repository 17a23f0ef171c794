"""Collectives over a store: what one rank has put, many may get.

Rules of this package:
- For ranks that share a store (``coll.steps.Put``, ``Get``, ``Count``). Signatures and results are those of the other
  algorithms for the same collective; reductions keep the rank order.
- Costs are ``coll.cost.Requests``: a store is paid by the request. They do not count looks for what is not there yet.
- Nobody waits for those who read what it has put.
"""
