{{/* Labels that tell the pods of this release from others, inside the braces of a query. */}}
{{- define "chatbot.monitoring.selector" -}}
{{- $usual := printf "namespace=%q,pod=~\"%s-(chat|history)-.+\"" .Release.Namespace (include "chatbot.fullname" .) }}
{{- default $usual .Values.monitoring.selector }}
{{- end }}
