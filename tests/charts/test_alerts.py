"""Alerts fire when they should and are silent when all is well, as Prometheus itself works them out.

promtool comes with Prometheus. On Debian `devtools/install-promtool.sh` fetches it; elsewhere it is looked for on
the path and by PROMTOOL, and without it this is not checked.
"""

import os
import shutil
import subprocess
from pathlib import Path
from typing import Any, Final

import pytest
import yaml

from tests.charts.cases import SWITCHES
from tests.charts.release import NAME, NAMESPACE, merged, release

CHARTS = Path(os.environ.get("CHATBOT_CHARTS") or Path(__file__).parents[2] / ".venv-charts")
PROMTOOL = os.environ.get("PROMTOOL") or shutil.which("promtool") or shutil.which(CHARTS / "bin/promtool")
STEPS: Final = 240  # of 15 s: an hour
NOW: Final = "50m"
LATE: Final = 180  # the step at which trouble begins: five minutes before the end

GONE: Final = f"20+0x{LATE - 60} stale"

Series = dict[str, str]


def _steady(value: float) -> str:
    return f"{value}+0x{STEPS}"


def _rising(by: float) -> str:
    return f"0+{by}x{STEPS}"


def _from_late(value: float, by: float = 0.0) -> str:
    return f"0+0x{LATE} {value}+{by}x{STEPS - LATE}"


def _pod(part: str, name: str, **labels: str) -> str:
    given = {"namespace": NAMESPACE, "pod": f"{NAME}-chatbot-{part}-1", **labels}
    written = ",".join(f'{label}="{value}"' for label, value in given.items())
    return f"{name}{{{written}}}"


def _chat(name: str, **labels: str) -> str:
    return _pod("chat", f"chatbot_{name}", **labels)


def _history(name: str, **labels: str) -> str:
    return _pod("history", f"chatbot_history_{name}", **labels)


def _second(part: str, name: str) -> str:
    """Return a series of a second pod."""
    return _pod(part, name, pod=f"{NAME}-chatbot-{part}-2")


def _all_is_well() -> Series:
    series = {
        _chat("connections_open"): _steady(20),
        _chat("connections_closed_total", code="1000"): _rising(3),
        _chat("connections_denied_total", code="time_zone_unknown"): _rising(1),
        _chat("messages_answered_total", kind="text", outcome="answered"): _rising(100),
        _chat("messages_refused_total", code="media_too_long"): _rising(1),
        _chat("message_seconds_bucket", kind="text", le="0.1"): _rising(99),
        _chat("message_seconds_bucket", kind="text", le="10.0"): _rising(100),
        _chat("message_seconds_bucket", kind="text", le="+Inf"): _rising(100),
        _chat("outbox_oldest_seconds"): _steady(2),
        _chat("outbox_bytes"): _steady(1e6),
        _chat("outbox_refused"): _steady(0),
        _chat("http_connections_cut_total", reason="turned_away"): _steady(0),
        _chat("delivery_denied_total"): _steady(0),
        _chat("delivery_token_ends_timestamp_seconds"): _steady(366 * 86400),
        _second("chat", "chatbot_connections_open"): _steady(20),
        _second("history", "chatbot_history_batch_bytes_count"): _rising(10),
        _history("batch_bytes_count"): _rising(10),
        _history("request_seconds_count", method="GET", route="/readyz", status="200"): _rising(1000),
        _history("request_seconds_count", method="GET", route="/v1", status="200"): _rising(100),
        _history("request_seconds_count", method="GET", route="/v1", status="404"): _rising(50),
    }
    for pool in ("connections", "messages"):
        series |= {
            _chat("permits_readable", pool=pool): _steady(1),
            _chat("permits_learning", pool=pool): f"1+0x3 {_steady(0)}",
            _chat("permits_waiting", pool=pool): _steady(0),
            _chat("permits_lost_total", pool=pool): _steady(0),
            _chat("permits_reaped", pool=pool): _steady(4),
            _chat("permits_timed_out_total", pool=pool): _steady(0),
            _chat("permits_refused_total", pool=pool, reason="line_full"): _steady(0),
            _chat("permits_refused_total", pool=pool, reason="client_limit"): _rising(1),
        }
    return series


WELL: Final = _all_is_well()
OF_CONNECTIONS: Final = {"pool": "connections"}

TROUBLE: Final[dict[str, Series]] = {
    "ChatbotChatMissing": {
        _chat("connections_open"): GONE,
        _second("chat", "chatbot_connections_open"): GONE,
    },
    "ChatbotChatPodsMissing": {_second("chat", "chatbot_connections_open"): GONE},
    "ChatbotHistoryMissing": {
        _history("batch_bytes_count"): GONE,
        _second("history", "chatbot_history_batch_bytes_count"): GONE,
    },
    "ChatbotHistoryPodsMissing": {_second("history", "chatbot_history_batch_bytes_count"): GONE},
    "ChatbotLimitsUnreadable": {_chat("permits_readable", **OF_CONNECTIONS): f"1+0x{LATE} 0+0x60"},
    "ChatbotLimitsLearning": {_chat("permits_learning", **OF_CONNECTIONS): _from_late(1)},
    "ChatbotPermitsLost": {_chat("permits_lost_total", **OF_CONNECTIONS): _from_late(7)},
    "ChatbotPodVanished": {_chat("permits_reaped", **OF_CONNECTIONS): f"4+0x{LATE} 9+0x60"},
    "ChatbotClientsWaiting": {_chat("permits_waiting", **OF_CONNECTIONS): _steady(3)},
    "ChatbotQueueLong": {_chat("permits_waiting", pool="messages"): f"0+0x{LATE - 40} 100+0x100"},
    "ChatbotPodsFull": {_chat("connections_denied_total", code="pod_full"): f"0+0x{LATE - 20} 0+1x80"},
    "ChatbotClientsTurnedAway": {_chat("permits_timed_out_total", **OF_CONNECTIONS): f"0+0x{LATE - 20} 0+1x80"},
    "ChatbotConnectionsExhausted": {_chat("http_connections_cut_total", reason="turned_away"): _rising(1)},
    "ChatbotMessagesBusy": {_chat("messages_refused_total", code="busy"): _rising(20)},
    "ChatbotAnswersSlow": {_chat("message_seconds_bucket", kind="text", le="0.1"): _rising(50)},
    "ChatbotFaults": {_chat("messages_refused_total", code="internal"): _from_late(0, 1)},
    "ChatbotOutboxOld": {_chat("outbox_oldest_seconds"): _steady(301)},
    "ChatbotDeliveryDenied": {_chat("delivery_denied_total"): f"0+0x{LATE - 20} 0+1x80"},
    "ChatbotDeliveryTokenEnding": {_chat("delivery_token_ends_timestamp_seconds"): _steady(29 * 86400)},
    "ChatbotOutboxFilling": {_chat("outbox_bytes"): _from_late(9e8)},
    "ChatbotOutboxSetAside": {_chat("outbox_refused"): _from_late(1)},
    "ChatbotHistoryFailing": {_history("request_seconds_count", method="POST", route="/v1", status="503"): _rising(20)},
    "ChatbotStoreFailing": {_history("store_errors_total", store="media"): _rising(1)},
    "ChatbotSweepBlocked": {_history("sweep_blocked", reason="foreign"): _steady(1)},
    "ChatbotErasureUnfinished": {_history("unfinished_erasures"): _steady(2)},
}
"""What makes each alert fire, beside what is well."""


@pytest.fixture(scope="module")
def rules(tmp_path_factory: pytest.TempPathFactory) -> Path:
    values = merged(SWITCHES["watched by pod"], {"monitoring": {"rules": {"disabled": []}}})
    path = tmp_path_factory.mktemp("rules") / "rules.yaml"
    path.write_text(yaml.safe_dump(release(values).one("PrometheusRule")["spec"]))
    return path


def _firing(series: Series, *alerts: str) -> dict[str, Any]:
    """Return a test of promtool's: with these series, exactly these alerts fire."""
    return {
        "interval": "15s",
        "input_series": [{"series": name, "values": values} for name, values in series.items()],
        "promql_expr_test": [
            {
                "expr": 'count by (alertname) (ALERTS{alertstate="firing"})',
                "eval_time": NOW,
                "exp_samples": [{"labels": f'{{alertname="{alert}"}}', "value": 1} for alert in alerts],
            }
        ],
    }


@pytest.mark.skipif(PROMTOOL is None, reason="NOT CHECKED: when alerts fire; no promtool (install it, or set PROMTOOL)")
@pytest.mark.timeout(600)  # promtool works through an hour of each trouble, which takes long on a busy machine
def test_each_alert_fires_for_its_trouble_and_for_no_other(rules: Path) -> None:
    tests = [_firing(WELL), *(_firing({**WELL, **series}, alert) for alert, series in TROUBLE.items())]
    file = rules.with_name("tests.yaml")
    file.write_text(yaml.safe_dump({"rule_files": [rules.name], "evaluation_interval": "15s", "tests": tests}))
    ended = subprocess.run(
        [str(PROMTOOL), "test", "rules", file], capture_output=True, text=True, check=False, timeout=580
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr


def test_every_alert_is_tried(rules: Path) -> None:
    (group,) = yaml.safe_load(rules.read_text())["groups"]
    assert [rule["alert"] for rule in group["rules"]] == list(TROUBLE)
