{{/*
Every alert: its condition, for how long the condition must hold, and its severity. "critical": clients notice it, or answers may be
lost. "warning": it can wait until the morning. docs/operations.md says for each what to do.
*/}}
{{- define "chatbot.alerts" -}}
{{- $pods := include "chatbot.monitoring.selector" . }}
{{- $rules := .Values.monitoring.rules }}
- alert: ChatbotChatMissing
  expr: >-
    absent(chatbot_connections_open{ {{- $pods -}} })
  for: 5m
  severity: critical
  summary: There are no metrics of chat.
  description: Prometheus has read no metrics of any chat pod for 5 minutes. No chat pod runs, or Prometheus does not reach them.

{{- with include "chatbot.alerts.leastPods" .Values.chat }}

- alert: ChatbotChatPodsMissing
  expr: >-
    count(chatbot_connections_open{ {{- $pods -}} }) < {{ . }}
  for: 15m
  severity: warning
  summary: Chat pods are missing.
  description: >-
    {{ `Prometheus reads the metrics of {{ $value }} chat pods; at least ` }}{{ . }}{{ ` should run.` }}
{{- end }}

- alert: ChatbotHistoryMissing
  part: history
  expr: >-
    absent(chatbot_history_batch_bytes_count{ {{- $pods -}} })
  for: 5m
  severity: critical
  summary: There are no metrics of history.
  description: >-
    Prometheus has read no metrics of any history pod for 5 minutes. If none runs, exchanges wait in the outboxes and history cannot be read.

{{- with include "chatbot.alerts.leastPods" .Values.history }}

- alert: ChatbotHistoryPodsMissing
  part: history
  expr: >-
    count(chatbot_history_batch_bytes_count{ {{- $pods -}} }) < {{ . }}
  for: 15m
  severity: warning
  summary: History pods are missing.
  description: >-
    {{ `Prometheus reads the metrics of {{ $value }} history pods; at least ` }}{{ . }}{{ ` should run.` }}
{{- end }}

- alert: ChatbotLimitsUnreadable
  expr: >-
    min by (pool) (chatbot_permits_readable{ {{- $pods -}} }) == 0
  for: 2m
  severity: critical
  summary: >-
    {{ `The limits of the pool {{ $labels.pool }} cannot be read.` }}
  description: A chat pod does not reach Redis. It accepts no connections, and closes those it has after 3/4 of a lease.

- alert: ChatbotLimitsLearning
  expr: >-
    max by (pool) (chatbot_permits_learning{ {{- $pods -}} }) == 1
  for: {{ mul 4 (ceil .Values.limits.leaseSeconds) }}s
  severity: warning
  summary: >-
    {{ `The pool {{ $labels.pool }} is learning for too long.` }}
  description: Redis may have lost permits, so no new ones are granted. That should take one lease.

- alert: ChatbotPermitsLost
  expr: >-
    sum by (pool) (increase(chatbot_permits_lost_total{ {{- $pods -}} }[10m])) > 0
  for: 0m
  severity: warning
  summary: >-
    {{ `Permits of the pool {{ $labels.pool }} were lost while they were held.` }}
  description: A pod could not renew its lease in time. Its connections were closed with 1013.

- alert: ChatbotPodVanished
  expr: >-
    max by (pool) (delta(chatbot_permits_reaped{ {{- $pods -}} }[10m])) > 0
  for: 0m
  severity: warning
  summary: >-
    {{ `Permits of the pool {{ $labels.pool }} were taken from a pod whose lease ended.` }}
  description: A chat pod ended without a drain (killed, out of memory, or its node is gone), or did not reach Redis for a lease.

- alert: ChatbotClientsWaiting
  expr: >-
    max(chatbot_permits_waiting{ {{- $pods }},pool="connections"}) > 0
  for: 10m
  severity: warning
  summary: Clients wait in the queue for a connection.
  description: >-
    {{ `All permits of the pool connections have been held for 10 minutes. {{ $value }} clients wait.` }}

- alert: ChatbotQueueLong
  expr: >-
    max by (pool) (avg_over_time(chatbot_permits_waiting{ {{- $pods -}} }[10m])) > 20
    and max by (pool) (avg_over_time(chatbot_permits_waiting{ {{- $pods -}} }[10m]))
    > 3 * (max by (pool) (avg_over_time(chatbot_permits_waiting{ {{- $pods -}} }[1d] offset 10m)))
  for: 5m
  severity: warning
  summary: >-
    {{ `The queue of the pool {{ $labels.pool }} is longer than usual.` }}
  description: >-
    {{ `{{ $value | humanize }} wait on average, more than three times the average of the day before.` }}

- alert: ChatbotPodsFull
  expr: >-
    sum(increase(chatbot_connections_denied_total{ {{- $pods }},code="pod_full"}[10m])) > 0
  for: 5m
  severity: warning
  summary: Chat pods are full.
  description: >-
    {{ `{{ $value | humanize }} handshakes within 10 minutes were denied by a pod that has all the connections that one pod may have.` }}

- alert: ChatbotClientsTurnedAway
  expr: >-
    sum(increase(chatbot_permits_timed_out_total{ {{- $pods }},pool="connections"}[10m]))
    + sum(increase(chatbot_permits_refused_total{ {{- $pods }},pool="connections",reason="line_full"}[10m])) > 0
  for: 5m
  severity: critical
  summary: Clients are denied because the limits are reached.
  description: >-
    {{ `{{ $value | humanize }} handshakes within 10 minutes were denied: they waited in vain, or the queue was full.` }}

- alert: ChatbotConnectionsExhausted
  expr: sum by (pod) (increase(chatbot_http_connections_cut_total{ {{- $pods }},reason="turned_away"}[10m])) > 0
  for: 5m
  severity: critical
  summary: >-
    {{ `Pod {{ $labels.pod }} has all the HTTP connections that it can have.` }}
  description: >-
    {{ `{{ $value | humanize }} new connections within 10 minutes were answered 503, whatever they requested.` }}

- alert: ChatbotMessagesBusy
  expr: >-
    sum(rate(chatbot_messages_refused_total{ {{- $pods }},code="busy"}[5m]))
    / (sum(rate(chatbot_messages_refused_total{ {{- $pods -}} }[5m]))
    + (sum(rate(chatbot_messages_answered_total{ {{- $pods -}} }[5m])) or vector(0))) > 0.05
  for: 5m
  severity: critical
  summary: Messages are answered busy.
  description: >-
    {{ `{{ $value | humanizePercentage }} of messages are answered busy: too many are in process, or an outbox is full.` }}

- alert: ChatbotAnswersSlow
  expr: >-
    histogram_quantile(0.95, sum by (le, kind) (rate(chatbot_message_seconds_bucket{ {{- $pods -}} }[10m])))
    > {{ $rules.slowSeconds }}
  for: 10m
  severity: warning
  summary: >-
    {{ `Answers to {{ $labels.kind }} are slow.` }}
  description: >-
    {{ `The 95th percentile is {{ $value | humanizeDuration }}.` }}

- alert: ChatbotFaults
  expr: >-
    sum(increase(chatbot_connections_closed_total{ {{- $pods }},code="1011"}[15m])) > 0
    or sum(increase(chatbot_messages_refused_total{ {{- $pods }},code=~"internal|media_failed"}[15m])) > 0
    or sum(increase(chatbot_permits_faults_total{ {{- $pods -}} }[15m])) > 0
  for: 0m
  severity: warning
  summary: An internal error happened.
  description: A connection was closed with 1011, a message was answered "internal" or "media_failed", or a pool of permits failed.

- alert: ChatbotOutboxOld
  expr: >-
    max by (pod) (chatbot_outbox_oldest_seconds{ {{- $pods -}} }) > {{ $rules.undeliveredSeconds }}
  for: 5m
  severity: warning
  summary: >-
    {{ `Exchanges of {{ $labels.pod }} do not reach history.` }}
  description: >-
    {{ `The oldest has waited for {{ $value | humanizeDuration }}.` }}

- alert: ChatbotDeliveryDenied
  expr: >-
    sum by (pod) (increase(chatbot_delivery_denied_total{ {{- $pods -}} }[15m])) > 0
  for: 5m
  severity: critical
  summary: >-
    {{ `History does not accept the token of {{ $labels.pod }}.` }}
  description: Exchanges stay in the outbox of the pod until the token is replaced.

- alert: ChatbotDeliveryTokenEnding
  expr: >-
    min(chatbot_delivery_token_ends_timestamp_seconds{ {{- $pods -}} }) - time() < 30 * 86400
  for: 10m
  severity: warning
  summary: The token of chat for history expires soon.
  description: >-
    {{ `It expires in {{ $value | humanizeDuration }}. History then accepts no exchanges.` }}

- alert: ChatbotOutboxFilling
  expr: >-
    max by (pod) (chatbot_outbox_bytes{ {{- $pods -}} }) > {{ div (mul .Values.chat.outbox.maxMiB 1048576 4) 5 }}
  for: 1m
  severity: critical
  summary: >-
    {{ `The outbox of {{ $labels.pod }} is nearly full.` }}
  description: >-
    {{ `It holds {{ $value | humanize1024 }}B, more than 80 % of its largest size. When it is full, messages are answered busy.` }}

- alert: ChatbotOutboxSetAside
  expr: >-
    max by (pod) (chatbot_outbox_refused{ {{- $pods -}} }) > 0
  for: 0m
  severity: warning
  summary: >-
    {{ `Exchanges of {{ $labels.pod }} are dead letters.` }}
  description: >-
    {{ `History refused {{ $value }} exchanges, or the disk damaged them. They are not in history.` }}

- alert: ChatbotHistoryFailing
  part: history
  expr: >-
    sum(rate(chatbot_history_request_seconds_count{ {{- $pods }},route!~"/healthz|/readyz",status=~"5.."}[5m]))
    / sum(rate(chatbot_history_request_seconds_count{ {{- $pods }},route!~"/healthz|/readyz"}[5m])) > 0.05
  for: 10m
  severity: critical
  summary: Requests to history fail.
  description: >-
    {{ `{{ $value | humanizePercentage }} of the requests are answered 5xx.` }}

- alert: ChatbotStoreFailing
  part: history
  expr: >-
    sum by (store) (rate(chatbot_history_store_errors_total{ {{- $pods -}} }[5m])) > 0
  for: 10m
  severity: warning
  summary: >-
    {{ `The store of {{ $labels.store }} fails.` }}
  description: Operations on MongoDB (messages) or S3 (media) have been failing for 10 minutes.

- alert: ChatbotSweepBlocked
  part: history
  expr: >-
    max by (reason) (chatbot_history_sweep_blocked{ {{- $pods -}} }) > 0
  for: 5m
  severity: warning
  summary: The sweep of history is blocked.
  description: >-
    {{ `The messages and the media do not fit together ({{ $labels.reason }}). Orphans are not deleted until an operator has mended that. Unless the reason is orphan_share or expired_share, nothing is erased either.` }}

- alert: ChatbotErasureUnfinished
  part: history
  expr: >-
    max(chatbot_history_unfinished_erasures{ {{- $pods -}} }) > 0
  for: 15m
  severity: warning
  summary: History cannot finish an erasure.
  description: >-
    {{ `The media of {{ $value }} erasures cannot be deleted. Each sweep tries again.` }}
{{- end }}

{{/* How many pods of a service there are at least, where that is more than one; one that is missing is another alert. Takes its values. */}}
{{- define "chatbot.alerts.leastPods" -}}
{{- $least := ternary .autoscaling.minReplicas (.replicas | default 0) (ne (.autoscaling.mode | default "") "") | int }}
{{- if gt $least 1 }}{{ $least }}{{ end }}
{{- end }}
