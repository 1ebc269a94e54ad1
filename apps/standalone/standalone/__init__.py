"""The whole chatbot in one process: both services on loopback ports, with stores in a data folder."""
