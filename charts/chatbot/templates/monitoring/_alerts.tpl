{{/*
Every alert: what is wrong, for how long it may be, and how much it matters. "critical" is for what clients feel or what may
lose answers; "warning" can wait until the morning. docs/operations.md says of each what to do.
*/}}
{{- define "chatbot.alerts" -}}
{{- $pods := include "chatbot.monitoring.selector" . }}
{{- $rules := .Values.monitoring.rules }}
- alert: ChatbotChatMissing
  expr: >-
    absent(chatbot_connections_open{ {{- $pods -}} })
  for: 5m
  severity: critical
  summary: No chat pod can be seen.
  description: Prometheus has read no metrics of chat for 5 minutes; nobody can connect, or nobody can tell.

{{- with include "chatbot.alerts.leastPods" .Values.chat }}

- alert: ChatbotChatPodsMissing
  expr: >-
    count(chatbot_connections_open{ {{- $pods -}} }) < {{ . }}
  for: 15m
  severity: warning
  summary: Chat pods are missing.
  description: >-
    {{ `Prometheus reads the metrics of {{ $value }} chat pods, where at least ` }}{{ . }}{{ ` should run.` }}
{{- end }}

- alert: ChatbotHistoryMissing
  part: history
  expr: >-
    absent(chatbot_history_batch_bytes_count{ {{- $pods -}} })
  for: 5m
  severity: critical
  summary: No history pod can be seen.
  description: Prometheus has read no metrics of history for 5 minutes; answers wait in the outboxes, history cannot be read.

{{- with include "chatbot.alerts.leastPods" .Values.history }}

- alert: ChatbotHistoryPodsMissing
  part: history
  expr: >-
    count(chatbot_history_batch_bytes_count{ {{- $pods -}} }) < {{ . }}
  for: 15m
  severity: warning
  summary: History pods are missing.
  description: >-
    {{ `Prometheus reads the metrics of {{ $value }} history pods, where at least ` }}{{ . }}{{ ` should run.` }}
{{- end }}

- alert: ChatbotLimitsUnreadable
  expr: >-
    min by (pool) (chatbot_permits_readable{ {{- $pods -}} }) == 0
  for: 2m
  severity: critical
  summary: >-
    {{ `The limits of {{ $labels.pool }} cannot be read.` }}
  description: A chat pod does not reach Redis; it lets nobody in, and closes its connections after most of a lease.

- alert: ChatbotLimitsLearning
  expr: >-
    max by (pool) (chatbot_permits_learning{ {{- $pods -}} }) == 1
  for: {{ mul 4 (ceil .Values.limits.leaseSeconds) }}s
  severity: warning
  summary: >-
    {{ `The limits of {{ $labels.pool }} are being learned for too long.` }}
  description: Redis may have forgotten who holds permits, and nothing new is granted. That should take one lease.

- alert: ChatbotPermitsLost
  expr: >-
    sum by (pool) (increase(chatbot_permits_lost_total{ {{- $pods -}} }[10m])) > 0
  for: 0m
  severity: warning
  summary: >-
    {{ `Permits of {{ $labels.pool }} were lost while they were held.` }}
  description: A pod could not renew its lease in time, so its connections were closed with 1013.

- alert: ChatbotPodVanished
  expr: >-
    max by (pool) (delta(chatbot_permits_reaped{ {{- $pods -}} }[10m])) > 0
  for: 0m
  severity: warning
  summary: >-
    {{ `Permits of {{ $labels.pool }} were taken back from a pod that fell silent.` }}
  description: A chat pod ended without draining (killed, out of memory, or its node is gone), or was cut off for a lease.

- alert: ChatbotClientsWaiting
  expr: >-
    max(chatbot_permits_waiting{ {{- $pods }},pool="connections"}) > 0
  for: 10m
  severity: warning
  summary: Clients are waiting in line for a place.
  description: >-
    {{ `All places have been taken for 10 minutes; {{ $value }} wait.` }}

- alert: ChatbotQueueLong
  expr: >-
    max by (pool) (avg_over_time(chatbot_permits_waiting{ {{- $pods -}} }[10m])) > 20
    and max by (pool) (avg_over_time(chatbot_permits_waiting{ {{- $pods -}} }[10m]))
    > 3 * (max by (pool) (avg_over_time(chatbot_permits_waiting{ {{- $pods -}} }[1d] offset 10m)))
  for: 5m
  severity: warning
  summary: >-
    {{ `The queue for {{ $labels.pool }} is longer than usual.` }}
  description: >-
    {{ `{{ $value | humanize }} wait on average, more than three times what did in the day before.` }}

- alert: ChatbotPodsFull
  expr: >-
    sum(increase(chatbot_connections_denied_total{ {{- $pods }},code="pod_full"}[10m])) > 0
  for: 5m
  severity: warning
  summary: Chat pods are full.
  description: >-
    {{ `{{ $value | humanize }} handshakes met a pod that has all the connections one pod may have.` }}

- alert: ChatbotClientsTurnedAway
  expr: >-
    sum(increase(chatbot_permits_timed_out_total{ {{- $pods }},pool="connections"}[10m]))
    + sum(increase(chatbot_permits_refused_total{ {{- $pods }},pool="connections",reason="line_full"}[10m])) > 0
  for: 5m
  severity: critical
  summary: Clients are turned away.
  description: >-
    {{ `{{ $value | humanize }} clients found no place within 10 minutes, though they waited.` }}

- alert: ChatbotConnectionsExhausted
  expr: sum by (pod) (increase(chatbot_http_connections_cut_total{ {{- $pods }},reason="turned_away"}[10m])) > 0
  for: 5m
  severity: critical
  summary: >-
    {{ `Pod {{ $labels.pod }} has all the connections that it can have.` }}
  description: >-
    {{ `{{ $value | humanize }} newcomers were answered 503 within 10 minutes, whatever they wanted.` }}

- alert: ChatbotMessagesBusy
  expr: >-
    sum(rate(chatbot_messages_refused_total{ {{- $pods }},code="busy"}[5m]))
    / (sum(rate(chatbot_messages_refused_total{ {{- $pods -}} }[5m]))
    + (sum(rate(chatbot_messages_answered_total{ {{- $pods -}} }[5m])) or vector(0))) > 0.05
  for: 5m
  severity: critical
  summary: Messages are answered busy.
  description: >-
    {{ `{{ $value | humanizePercentage }} of messages get no answer: too many are in process, or an outbox is full.` }}

- alert: ChatbotAnswersSlow
  expr: >-
    histogram_quantile(0.95, sum by (le, kind) (rate(chatbot_message_seconds_bucket{ {{- $pods -}} }[10m])))
    > {{ $rules.slowSeconds }}
  for: 10m
  severity: warning
  summary: >-
    {{ `Answers to {{ $labels.kind }} are slow.` }}
  description: >-
    {{ `One in twenty takes more than {{ $value | humanizeDuration }}.` }}

- alert: ChatbotFaults
  expr: >-
    sum(increase(chatbot_connections_closed_total{ {{- $pods }},code="1011"}[15m])) > 0
    or sum(increase(chatbot_messages_refused_total{ {{- $pods }},code=~"internal|media_failed"}[15m])) > 0
    or sum(increase(chatbot_permits_faults_total{ {{- $pods -}} }[15m])) > 0
  for: 0m
  severity: warning
  summary: A fault of ours.
  description: A connection was closed with 1011, a message was answered "internal" or "media_failed", or a pool of permits failed.

- alert: ChatbotOutboxOld
  expr: >-
    max by (pod) (chatbot_outbox_oldest_seconds{ {{- $pods -}} }) > {{ $rules.undeliveredSeconds }}
  for: 5m
  severity: warning
  summary: >-
    {{ `Answers of {{ $labels.pod }} do not reach history.` }}
  description: >-
    {{ `The oldest has waited for {{ $value | humanizeDuration }}.` }}

- alert: ChatbotDeliveryDenied
  expr: >-
    sum by (pod) (increase(chatbot_delivery_denied_total{ {{- $pods -}} }[15m])) > 0
  for: 5m
  severity: critical
  summary: >-
    {{ `History does not accept the token of {{ $labels.pod }}.` }}
  description: Its answers stay in the outbox until the token is replaced.

- alert: ChatbotDeliveryTokenEnding
  expr: >-
    min(chatbot_delivery_token_ends_timestamp_seconds{ {{- $pods -}} }) - time() < 30 * 86400
  for: 10m
  severity: warning
  summary: The token of chat for history ends soon.
  description: >-
    {{ `It ends in {{ $value | humanizeDuration }}; then history takes no answers any more.` }}

- alert: ChatbotOutboxFilling
  expr: >-
    max by (pod) (chatbot_outbox_bytes{ {{- $pods -}} }) > {{ div (mul .Values.chat.outbox.maxMiB 1048576 4) 5 }}
  for: 1m
  severity: critical
  summary: >-
    {{ `The outbox of {{ $labels.pod }} is nearly full.` }}
  description: >-
    {{ `It holds {{ $value | humanize1024 }}B, over four fifths; when it is full, messages are answered busy.` }}

- alert: ChatbotOutboxSetAside
  expr: >-
    max by (pod) (chatbot_outbox_refused{ {{- $pods -}} }) > 0
  for: 0m
  severity: warning
  summary: >-
    {{ `Exchanges of {{ $labels.pod }} were set aside.` }}
  description: >-
    {{ `History cannot take {{ $value }}, or the disk damaged them; they are not in history.` }}

- alert: ChatbotHistoryFailing
  part: history
  expr: >-
    sum(rate(chatbot_history_request_seconds_count{ {{- $pods }},route!~"/healthz|/readyz",status=~"5.."}[5m]))
    / sum(rate(chatbot_history_request_seconds_count{ {{- $pods }},route!~"/healthz|/readyz"}[5m])) > 0.05
  for: 10m
  severity: critical
  summary: History fails.
  description: >-
    {{ `{{ $value | humanizePercentage }} of its requests are answered 5xx.` }}

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
  summary: History deletes no media.
  description: >-
    {{ `What is kept does not fit together ({{ $labels.reason }}); media without a message stay, and unless the reason is orphan_share or expired_share nothing is erased either, until somebody has looked.` }}

- alert: ChatbotErasureUnfinished
  part: history
  expr: >-
    max(chatbot_history_unfinished_erasures{ {{- $pods -}} }) > 0
  for: 15m
  severity: warning
  summary: History cannot erase what it was told to erase.
  description: >-
    {{ `The media of {{ $value }} erasures cannot be deleted; each sweep tries them again.` }}
{{- end }}

{{/* How many pods of a service there are at least, where that is more than one; one that is missing is another alert. Takes its values. */}}
{{- define "chatbot.alerts.leastPods" -}}
{{- $least := ternary .autoscaling.minReplicas (.replicas | default 0) (ne (.autoscaling.mode | default "") "") | int }}
{{- if gt $least 1 }}{{ $least }}{{ end }}
{{- end }}
