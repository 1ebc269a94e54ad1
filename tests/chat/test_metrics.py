"""What a client sends cannot make more figures than there are meanings."""

from prometheus_client import generate_latest

from chat_service.metrics import NOT_COUNTED, ChatMetrics
from frameproto import RequestKind
from frameproto.denials import DenialCode


def test_close_codes_that_only_the_client_knows_are_one_figure() -> None:
    metrics = ChatMetrics()
    for code in (1000, 1001, 1006, 4002, *range(3000, 4000), *range(4004, 5000)):
        metrics.closed(code)
    lines = generate_latest(metrics.registry).decode().splitlines()
    closed = {line for line in lines if line.startswith("chatbot_connections_closed_total") and line[-4:] != " 0.0"}
    assert closed == {
        'chatbot_connections_closed_total{code="1000"} 1.0',
        'chatbot_connections_closed_total{code="1001"} 1.0',
        'chatbot_connections_closed_total{code="1006"} 1.0',
        'chatbot_connections_closed_total{code="4002"} 1.0',
        'chatbot_connections_closed_total{code="other"} 1996.0',
    }


def test_every_denial_of_a_handshake_is_shown_from_the_start() -> None:
    metrics = ChatMetrics()

    def shown(code: str) -> float | None:
        return metrics.registry.get_sample_value("chatbot_connections_denied_total", {"code": code})

    assert {code for code in DenialCode if shown(code) == 0} == set(DenialCode) - NOT_COUNTED
    metrics.denied(DenialCode.POD_FULL)
    assert shown("pod_full") == 1


def test_messages_in_process_are_told_by_kind_from_the_start() -> None:
    metrics = ChatMetrics()

    def shown(kind: str) -> float | None:
        return metrics.registry.get_sample_value("chatbot_messages_in_process", {"kind": kind})

    assert {shown(kind.message_kind) for kind in RequestKind} == {0}
    metrics.begin(RequestKind.TEXT)
    metrics.begin(RequestKind.TEXT)
    metrics.begin(RequestKind.VOICE)
    metrics.end(RequestKind.TEXT)
    assert [shown(kind.message_kind) for kind in RequestKind] == [1, 1, 0]
