"""The bots: who replies, and with which words."""
