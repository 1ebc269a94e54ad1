{{/* What is the chat service's own: its variables, its volumes, its memory. All take the root. */}}

{{- define "chatbot.chat.config" -}}
{{- $sizing := .Values.sizing }}
{{- $config := dict
  "CHAT_HOST" .Values.listenAddress
  "CHAT_PORT" 8000
  "CHAT_METRICS_PORT" 9000
  "CHAT_LOG_LEVEL" .Values.log.level
  "CHAT_LOG_FORMAT" .Values.log.format
  "CHAT_DATA_DIR" "/data"
  "CHAT_HISTORY_URL" (include "chatbot.historyUrl" .)
  "CHAT_MAX_CONNECTIONS" .Values.limits.connections
  "CHAT_MAX_CONNECTIONS_PER_CLIENT" .Values.limits.connectionsPerClient
  "CHAT_MAX_CONNECTIONS_PER_POD" $sizing.connectionsPerPod
  "CHAT_MAX_MESSAGES" .Values.limits.messages
  "CHAT_MAX_WAITING" .Values.limits.waiting
  "CHAT_LEASE_SECONDS" .Values.limits.leaseSeconds
  "CHAT_MAX_FRAME_BYTES" (printf "%vMiB" $sizing.maxFrameMiB)
  "CHAT_MAX_CONNECTION_BYTES" (printf "%vMiB" $sizing.maxConnectionMiB)
  "CHAT_MAX_POD_BYTES" (printf "%vMiB" $sizing.maxPodMiB)
  "CHAT_MEDIA_PROCESSES" $sizing.mediaProcesses
  "CHAT_OUTBOX_MAX_BYTES" (printf "%vMiB" .Values.chat.outbox.maxMiB)
  "CHAT_DRAIN_SECONDS" .Values.drainSeconds
  "CHAT_PERMITS_PREFIX" (printf "permits:%s:%s" .Release.Namespace .Release.Name) }}
{{- $config = merge $config (include "chatbot.config.access" (dict "root" . "prefix" "CHAT") | fromYaml) }}
{{- with .Values.redis.url }}
{{- $_ := set $config "CHAT_REDIS_URL" . }}
{{- end }}
{{- with .Values.chat.speech }}
{{- if .mode }}
{{- $_ := set $config "CHAT_SPEECH" .mode }}
{{- $_ := set $config "CHAT_SPEECH_MAX_RECORDINGS" .maxRecordings }}
{{- end }}
{{- if include "chatbot.chat.hearing" $ | int }}
{{- $_ := set $config "CHAT_SPEECH_PROCESSES" .processes }}
{{- $_ := set $config "CHAT_SPEECH_MEMORY" (printf "%vMiB" .maxProcessMiB) }}
{{- end }}
{{- end }}
{{- if .Values.chat.botScript }}
{{- $_ := set $config "CHAT_BOT_SCRIPT" "/etc/chatbot/bot/script.toml" }}
{{- end }}
{{- include "chatbot.config" (merge $config (.Values.chat.settings | default dict)) }}
{{- end }}

{{- define "chatbot.chat.env" -}}
{{- include "chatbot.env.address" (dict "prefix" "CHAT_REDIS" "values" .Values.redis) }}
{{- include "chatbot.env.tokens" (dict "root" . "prefix" "CHAT") }}
{{- with .Values.auth }}
{{- if eq .mode "jwt" }}
{{- include "chatbot.env.secret" (dict "name" "CHAT_HISTORY_TOKEN" "secret" .existingSecret "key" .historyTokenKey) }}
{{- if .contextTokenKey }}
{{- include "chatbot.env.secret" (dict "name" "CHAT_CONTEXT_TOKEN" "secret" .existingSecret "key" .contextTokenKey) }}
{{- end }}
{{- end }}
{{- end }}
{{- with .Values.chat.bot }}
{{- if and .existingSecret .secretKey }}
{{- include "chatbot.env.secret" (dict "name" "CHAT_BOT_SECRET" "secret" .existingSecret "key" .secretKey) }}
{{- end }}
{{- if and .existingSecret .apiKeyKey }}
{{- include "chatbot.env.secret" (dict "name" "CHAT_LLM_API_KEY" "secret" .existingSecret "key" .apiKeyKey) }}
{{- end }}
{{- if and .existingSecret .speechApiKeyKey }}
{{- include "chatbot.env.secret" (dict "name" "CHAT_SPEECH_API_KEY" "secret" .existingSecret "key" .speechApiKeyKey) }}
{{- end }}
{{- end }}
{{- include "chatbot.env.ca" . }}
{{- end }}

{{/* The outbox and a quarter more, so that it is full by its own count and never by the disk's. */}}
{{- define "chatbot.chat.volumeSize" -}}
{{ printf "%dMi" (div (mul .Values.chat.outbox.maxMiB 5) 4) }}
{{- end }}

{{- define "chatbot.chat.volumes" -}}
{{- if not .Values.chat.outbox.persistence.enabled }}
- name: data
  emptyDir:
    sizeLimit: {{ include "chatbot.chat.volumeSize" . }}
{{- end }}
{{- if .Values.chat.botScript }}
- name: bot
  configMap:
    name: {{ printf "%s-chat-bot" (include "chatbot.fullname" .) | quote }}
{{- end }}
{{- include "chatbot.volumes.ca" . }}
{{- end }}

{{- define "chatbot.chat.mounts" -}}
- name: data
  mountPath: /data
{{- if .Values.chat.botScript }}
- name: bot
  mountPath: /etc/chatbot/bot
  readOnly: true
{{- end }}
{{- include "chatbot.mounts.ca" . }}
{{- end }}

{{/* How many processes of a pod recognize speech. */}}
{{- define "chatbot.chat.hearing" -}}
{{- with .Values.chat.speech }}{{ ternary .processes 0 (eq (.mode | default "") "embedded") }}{{ end }}
{{- end }}

{{/* "yes" where pods need what only the image with speech holds. */}}
{{- define "chatbot.chat.speaks" -}}
{{- $engine := get (.Values.chat.settings | default dict) "CHAT_VOICE_ENGINE" }}
{{- if or (include "chatbot.chat.hearing" . | int) (eq (toString $engine) "hibari") }}yes{{ end }}
{{- end }}

{{/* What a pod may need at worst, as docs/operations.md works it out. */}}
{{- define "chatbot.chat.worstMiB" -}}
{{- with .Values.sizing }}
{{- $connections := default $.Values.limits.connections .connectionsPerPod }}
{{- add 200 .maxPodMiB (mul .maxFrameMiB $connections) (mul 1024 .mediaProcesses) (include "chatbot.chat.speechMiB" $) }}
{{- end }}
{{- end }}

{{/*
The most that speech takes: the processes of recognition, the sound that waits for them, 32 kB a second and at most half an hour, and
the cache of synthesized speech above 16 MiB, which the service's own 200 MiB cover.
*/}}
{{- define "chatbot.chat.speechMiB" -}}
{{- $settings := .Values.chat.settings | default dict }}
{{- $longest := get $settings "CHAT_MEDIA_MAX_SECONDS" | default 120 }}
{{- $cache := maxf 0 (subf (get $settings "CHAT_VOICE_CACHE" | default 0) 16777216) }}
{{- with .Values.chat.speech }}
{{- $sound := ternary (mulf .maxRecordings (minf $longest 1800) 32000) 0 (ne (.mode | default "") "") }}
{{- add (mul (include "chatbot.chat.hearing" $ | int) .maxProcessMiB) (divf (addf $sound $cache) 1048576 | ceil | int) }}
{{- end }}
{{- end }}

{{/* The usual need is requested: the service, the media workers between jobs, half of what it may hold. */}}
{{- define "chatbot.chat.resources" -}}
{{- $hearing := include "chatbot.chat.hearing" . | int }}
requests:
  cpu: {{ add 250 (mul 500 $hearing) }}m
  memory: {{ add 200 (mul 128 .Values.sizing.mediaProcesses) (div .Values.sizing.maxPodMiB 2) (mul 400 $hearing) }}Mi
limits:
  memory: {{ include "chatbot.chat.worstMiB" . }}Mi
{{- end }}

{{- define "chatbot.chat.pod" -}}
{{- include "chatbot.pod" (dict
  "root" .
  "name" "chat"
  "values" .Values.chat
  "port" 8000
  "metricsPort" 9000
  "config" (printf "%s%s" (include "chatbot.chat.config" .) (.Values.chat.botScript | default ""))
  "env" (include "chatbot.chat.env" . | fromYamlArray)
  "volumes" (include "chatbot.chat.volumes" . | fromYamlArray)
  "mounts" (include "chatbot.chat.mounts" . | fromYamlArray)
  "resources" (include "chatbot.chat.resources" . | fromYaml)) }}
{{- end }}
