{{/* Names, labels and images. Most helpers take a part: (dict "root" $ "name" "chat" "values" .Values.chat). */}}

{{- define "chatbot.name" -}}
{{- default .Chart.Name .Values.nameOverride }}
{{- end }}

{{/*
What all names begin with: 40 characters at most, so that a StatefulSet's pods and labels fit into 63. A longer one is cut, and told
apart from others that begin alike by a hash of the whole.
*/}}
{{- define "chatbot.fullname" -}}
{{- $name := include "chatbot.name" . }}
{{- $full := ternary .Release.Name (printf "%s-%s" .Release.Name $name) (contains $name .Release.Name) }}
{{- $full = default $full .Values.fullnameOverride }}
{{- ternary (printf "%s-%s" (trunc 31 $full | trimSuffix "-") (sha256sum $full | trunc 8)) $full (gt (len $full) 40) }}
{{- end }}

{{/* The parts that this release has. */}}
{{- define "chatbot.parts" -}}
{{ ternary (list "chat" "history") (list "chat") .Values.history.enabled | toYaml }}
{{- end }}

{{/* The address that chat delivers to: the history of this release, or one elsewhere. */}}
{{- define "chatbot.historyUrl" -}}
{{- if .Values.history.enabled -}}
http://{{ include "chatbot.fullname" . }}-history:{{ int .Values.history.service.port }}
{{- else -}}
{{ .Values.history.url | default "" | trimSuffix "/" }}
{{- end }}
{{- end }}

{{/* Of the public paths, those that lead to something of this release. The page's `/` is no prefix, and not among them. */}}
{{- define "chatbot.publicPaths" -}}
{{- $page := ternary (list "/web" "/.well-known/chatbot") list .Values.publicPage }}
{{- $paths := dict "chat" (concat (.Values.publicPaths.chat | default list) $page | uniq) "history" .Values.publicPaths.history }}
{{ pick $paths "chat" (ternary "history" "" .Values.history.enabled) | toYaml }}
{{- end }}

{{/* The name of a part's objects, e.g. chatbot-chat. */}}
{{- define "chatbot.part.name" -}}
{{ include "chatbot.fullname" .root }}-{{ .name | default "" }}
{{- end }}

{{- define "chatbot.all.labels" -}}
{{- with .root }}
{{- $own := include "chatbot.selector" . | fromYaml }}
{{- $own = merge $own (dict
  "app.kubernetes.io/part-of" (include "chatbot.name" .)
  "app.kubernetes.io/version" .Chart.AppVersion
  "app.kubernetes.io/managed-by" .Release.Service
  "helm.sh/chart" (printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_")) }}
{{- merge $own (.Values.commonLabels | default dict) | toYaml }}
{{- end }}
{{- end }}

{{/* What all pods of the release have in common. */}}
{{- define "chatbot.selector" -}}
app.kubernetes.io/name: {{ include "chatbot.name" . | quote }}
app.kubernetes.io/instance: {{ .Release.Name | quote }}
{{- end }}

{{- define "chatbot.part.labels" -}}
{{ include "chatbot.all.labels" . }}
app.kubernetes.io/component: {{ .name }}
{{- end }}

{{- define "chatbot.part.selector" -}}
{{ include "chatbot.selector" .root }}
app.kubernetes.io/component: {{ .name }}
{{- end }}

{{/* Of pods: without the chart's version, so that an upgrade that changes nothing for a pod does not replace it. */}}
{{- define "chatbot.part.podLabels" -}}
{{- $own := include "chatbot.part.selector" . | fromYaml }}
{{- mergeOverwrite (dict) (.root.Values.commonLabels | default dict) (.values.podLabels | default dict) $own | toYaml }}
{{- end }}

{{/*
The whole of an object's metadata. Takes root, and perhaps: name of the part it belongs to, suffix of its name or object (all
of its name), labels, annotations.
*/}}
{{- define "chatbot.metadata" -}}
{{- $name := ternary (include "chatbot.part.name" .) (include "chatbot.fullname" .root) (hasKey . "name") }}
{{- $labels := include (ternary "chatbot.part.labels" "chatbot.all.labels" (hasKey . "name")) . | fromYaml -}}
name: {{ .object | default (printf "%s%s" $name (.suffix | default "")) | quote }}
namespace: {{ .root.Release.Namespace | quote }}
labels:
  {{- merge $labels (.labels | default dict) | toYaml | nindent 2 }}
{{- with merge (dict) (.annotations | default dict) (.root.Values.commonAnnotations | default dict) }}
annotations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{- define "chatbot.part.image" -}}
{{- $image := .values.image }}
{{- $repository := $image.repository }}
{{- if and $image.speechRepository (include "chatbot.chat.speaks" .root) }}
{{- $repository = $image.speechRepository }}
{{- end }}
{{- with coalesce .root.Values.image.registry (.root.Values.global | default dict).imageRegistry }}
{{- $repository = printf "%s/%s" (trimSuffix "/" .) $repository }}
{{- end }}
{{- if $image.digest -}}
{{ $repository }}@{{ $image.digest }}
{{- else -}}
{{ $repository }}:{{ coalesce $image.tag .root.Values.image.tag .root.Chart.AppVersion }}
{{- end }}
{{- end }}

{{- define "chatbot.part.serviceAccountName" -}}
{{- $account := .values.serviceAccount }}
{{- if $account.create -}}
{{ default (include "chatbot.part.name" .) $account.name }}
{{- else -}}
{{ default "default" $account.name }}
{{- end }}
{{- end }}

{{/* A value as the text of a variable. Values come as floats, and 10000000 must not become 1e+07. */}}
{{- define "chatbot.text" -}}
{{- if and (kindIs "float64" .) (eq (floor .) .) -}}
{{ int64 . }}
{{- else -}}
{{ . }}
{{- end }}
{{- end }}
