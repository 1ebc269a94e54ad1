"""One exchange over a WebSocket: what it costs our chat service, and services of others, beside a TCP floor."""
