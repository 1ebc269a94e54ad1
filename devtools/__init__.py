"""Real servers and pods on this machine, for tests, benchmarks and the load test; nothing of it runs in production."""
