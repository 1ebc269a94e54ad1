"""The HTTP interface: one module for each resource, and shared parts."""
