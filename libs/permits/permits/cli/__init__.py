"""The `permits` command: shows the pools in a store and changes them by hand."""

try:
    from permits.cli.commands import main
except ModuleNotFoundError as exc:
    raise SystemExit(f"permits: {exc.name} is not installed; install chatbot-permits[cli]") from exc

__all__ = ["main"]
