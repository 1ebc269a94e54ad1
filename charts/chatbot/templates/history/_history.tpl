{{/* What is the history service's own: its variables and its volumes. All take the root. */}}

{{- define "chatbot.history.config" -}}
{{- $config := dict
  "HISTORY_HOST" .Values.listenAddress
  "HISTORY_PORT" 8001
  "HISTORY_METRICS_PORT" 9001
  "HISTORY_LOG_LEVEL" .Values.log.level
  "HISTORY_LOG_FORMAT" .Values.log.format
  "HISTORY_MONGODB_DATABASE" .Values.mongodb.database
  "HISTORY_S3_BUCKET" .Values.s3.bucket
  "HISTORY_S3_CREATE_BUCKET" .Values.s3.createBucket
  "HISTORY_DRAIN_SECONDS" .Values.drainSeconds }}
{{- $config = merge $config (include "chatbot.config.access" (dict "root" . "prefix" "HISTORY") | fromYaml) }}
{{- with .Values.mongodb.url }}
{{- $_ := set $config "HISTORY_MONGODB_URL" . }}
{{- end }}
{{- with .Values.s3.prefix }}
{{- $_ := set $config "HISTORY_S3_PREFIX" . }}
{{- end }}
{{- with .Values.s3.endpointUrl }}
{{- $_ := set $config "HISTORY_S3_ENDPOINT_URL" . }}
{{- end }}
{{- with .Values.s3.region }}
{{- $_ := set $config "HISTORY_S3_REGION" . }}
{{- end }}
{{- include "chatbot.config" (merge $config (.Values.history.settings | default dict)) }}
{{- end }}

{{- define "chatbot.history.env" -}}
{{- include "chatbot.env.address" (dict "prefix" "HISTORY_MONGODB" "values" .Values.mongodb) }}
{{- include "chatbot.env.tokens" (dict "root" . "prefix" "HISTORY") }}
{{- with .Values.auth }}
{{- if and (eq .mode "jwt") .mediaAddressSecretsKey }}
{{- include "chatbot.env.secret" (dict "name" "HISTORY_MEDIA_ADDRESS_SECRETS" "secret" .existingSecret "key" .mediaAddressSecretsKey) }}
{{- end }}
{{- end }}
{{- with .Values.s3 }}
{{- if .existingSecret }}
{{- include "chatbot.env.secret" (dict "name" "AWS_ACCESS_KEY_ID" "secret" .existingSecret "key" .accessKeyIdKey) }}
{{- include "chatbot.env.secret" (dict "name" "AWS_SECRET_ACCESS_KEY" "secret" .existingSecret "key" .secretAccessKeyKey) }}
{{- end }}
{{- end }}
{{- include "chatbot.env.ca" . }}
{{- end }}

{{- define "chatbot.history.resources" -}}
requests:
  cpu: 100m
  memory: 256Mi
limits:
  memory: 1Gi
{{- end }}

{{- define "chatbot.history.pod" -}}
{{- include "chatbot.pod" (dict
  "root" .
  "name" "history"
  "values" .Values.history
  "port" 8001
  "metricsPort" 9001
  "config" (include "chatbot.history.config" .)
  "env" (include "chatbot.history.env" . | fromYamlArray)
  "volumes" (include "chatbot.volumes.ca" . | fromYamlArray)
  "mounts" (include "chatbot.mounts.ca" . | fromYamlArray)
  "resources" (include "chatbot.history.resources" . | fromYaml)) }}
{{- end }}
