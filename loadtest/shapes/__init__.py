"""How many users there are at which time of a run; each file is one shape, for Locust to load beside the locustfile."""
