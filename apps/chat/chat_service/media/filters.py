"""Graphs of FFmpeg's filters, as workers use them."""

from av.filter import Graph


def filter_graph() -> Graph:
    """Return an empty graph whose filters start no threads.

    FFmpeg starts one for each processor and filter otherwise. They gain little on small pictures, and each takes 8 MB
    of a worker's address space for as long as the graph is there.
    """
    graph = Graph()
    graph.threads = 1
    return graph
