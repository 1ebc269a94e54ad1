"""The numbers of the chaos: what workers and the test agree on."""

POOL = "chaos"
CAPACITY = 50
PER_CLIENT = 3
"""Fewer than workers: a visitor of each of them has the same client id."""
LEASE_SECONDS = 1.5
WAIT_SECONDS = 5.0
WORKERS = 4
VISITORS = 54
"""Tasks of a worker that hold a permit for up to a tenth of a second, again and again."""
CROWD = 400
"""Visitors of a worker whose queue takes several steps of a script."""
SITTERS = 6
"""Tasks of a worker that hold one for up to three leases: those are inside when a lease ends."""
USE_SECONDS = 0.02
"""How often a holder asks whether its permit is still valid."""
