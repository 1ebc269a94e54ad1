"""The `permits` command: what there is to see of the pools in a store, and what can be changed by hand."""

try:
    from permits.cli.commands import main
except ModuleNotFoundError as missing:
    raise SystemExit(f"permits: {missing.name} is not installed; install chatbot-permits[cli]") from missing

__all__ = ["main"]
