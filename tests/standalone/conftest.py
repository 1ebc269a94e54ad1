"""What tests of the whole chatbot in one process share."""

from pathlib import Path

import pytest


@pytest.fixture
def settings(tmp_path: Path) -> dict[str, object]:
    """Ports that are free, and data in a folder of its own."""
    return {
        "CHAT_PORT": 0,
        "CHAT_METRICS_PORT": 0,
        "HISTORY_PORT": 0,
        "HISTORY_METRICS_PORT": 0,
        "CHAT_DATA_DIR": tmp_path / "data" / "chat",
        "HISTORY_DATA_DIR": tmp_path / "data" / "history",
        "CHAT_MEDIA_PROCESSES": 1,
        "NO_COLOR": 1,
    }
