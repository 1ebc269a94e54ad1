"""The promises that a run is judged by: limits, order, loss, recovery."""
