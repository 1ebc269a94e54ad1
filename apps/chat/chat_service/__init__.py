"""The chat service: accepts clients over WebSocket, answers their messages, hands each exchange to history."""
