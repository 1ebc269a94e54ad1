"""What runs before `helm uninstall` takes a release away: chat is drained while history still takes what it delivers.

Helm removes Services first, and all pods at once. Chat would drain into a history that nobody finds any more. The chart
runs this package as a Job before anything is removed (ADR 0010).
"""
