{{/* Variables that both services are given in the same way. A service's own stand in chat/_chat.tpl and history/_history.tpl. */}}

{{/* A list of one variable, from a key of a Secret. Takes name, secret, key. */}}
{{- define "chatbot.env.secret" }}
- name: {{ .name }}
  valueFrom:
    secretKeyRef:
      name: {{ .secret | quote }}
      key: {{ .key | quote }}
{{- end }}

{{/*
A list of one or no variable: an address, or the password of the address that stands in the values, if a Secret has it. Takes
prefix (CHAT_REDIS ...) and values (redis, mongodb).
*/}}
{{- define "chatbot.env.address" -}}
{{- with .values }}
{{- if and .existingSecret (or .existingSecretPasswordKey (not .url)) }}
{{- $what := ternary "PASSWORD" "URL" (ne (.existingSecretPasswordKey | default "") "") }}
{{- include "chatbot.env.secret" (dict "name" (printf "%s_%s" $.prefix $what) "secret" .existingSecret "key" (.existingSecretPasswordKey | default .existingSecretKey)) }}
{{- end }}
{{- end }}
{{- end }}

{{/* A list of variables: the secrets that tokens are signed with. Takes root and prefix (CHAT, HISTORY). */}}
{{- define "chatbot.env.tokens" -}}
{{- $prefix := .prefix }}
{{- with .root.Values.auth }}
{{- if and (eq .mode "jwt") .tokenSecretsKey }}
{{- include "chatbot.env.secret" (dict "name" (printf "%s_TOKEN_SECRETS" $prefix) "secret" .existingSecret "key" .tokenSecretsKey) }}
{{- end }}
{{- end }}
{{- end }}

{{/* Settings of who may do what, the same for both services. Takes root and prefix. */}}
{{- define "chatbot.config.access" -}}
{{- $access := dict }}
{{- with .root.Values.auth }}
{{- $access = dict "AUTH" .mode "TOKEN_AUDIENCE" .audience "TOKEN_ISSUER" .issuer "TOKEN_JWKS_URL" .jwksUrl }}
{{- end }}
{{- range $name, $value := $access }}
{{- if $value }}
{{ $.prefix }}_{{ $name }}: {{ $value | quote }}
{{- end }}
{{- end }}
{{- /* The name of the Service is among the hosts that somebody names: chat, probes and tests of the release go by it. */}}
{{- with get ((index .root.Values (lower .prefix)).settings | default dict) (printf "%s_ALLOWED_HOSTS" .prefix) }}
{{ $.prefix }}_ALLOWED_HOSTS: {{ printf "%s,%s-%s" . (include "chatbot.fullname" $.root) (lower $.prefix) | quote }}
{{- end }}
{{- end }}

{{/* Variables by which every TLS client in the process finds the certificate authorities. */}}
{{- define "chatbot.env.ca" -}}
{{- if or .Values.caBundle.configMap .Values.caBundle.secret }}
{{- range list "SSL_CERT_FILE" "AWS_CA_BUNDLE" }}
- name: {{ . }}
  value: /etc/chatbot/ca/ca.crt
{{- end }}
{{- end }}
{{- end }}

{{- define "chatbot.volumes.ca" -}}
{{- with .Values.caBundle }}
{{- if .configMap }}
- name: ca
  configMap:
    name: {{ .configMap | quote }}
    items:
      - key: {{ .key | quote }}
        path: ca.crt
{{- else if .secret }}
- name: ca
  secret:
    secretName: {{ .secret | quote }}
    items:
      - key: {{ .key | quote }}
        path: ca.crt
{{- end }}
{{- end }}
{{- end }}

{{- define "chatbot.mounts.ca" -}}
{{- if or .Values.caBundle.configMap .Values.caBundle.secret }}
- name: ca
  mountPath: /etc/chatbot/ca
  readOnly: true
{{- end }}
{{- end }}

{{/* The data of a ConfigMap: names and values as text, sorted. */}}
{{- define "chatbot.config" -}}
{{- $texts := dict }}
{{- range $name, $value := . }}
{{- $_ := set $texts $name (include "chatbot.text" $value) }}
{{- end }}
{{- toYaml $texts }}
{{- end }}

{{/* Variables that containers are given one by one; a second one of the same name would be refused by the cluster. */}}
{{- define "chatbot.env.ours" -}}
{{- $names := list }}
{{- range concat (include "chatbot.chat.env" . | fromYamlArray) (include "chatbot.history.env" . | fromYamlArray) }}
{{- $names = append $names .name }}
{{- end }}
{{- toYaml $names }}
{{- end }}
