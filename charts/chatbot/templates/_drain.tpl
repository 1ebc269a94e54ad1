{{/* All that follows from the one drain budget. */}}

{{/* Sleep before the signal, until load balancers know that the pod is going: a fifth, 3 to 10 seconds. */}}
{{- define "chatbot.drain.preStopSeconds" -}}
{{ kindIs "invalid" .Values.preStopSeconds | ternary (div .Values.drainSeconds 5 | max 3 | min 10) (int .Values.preStopSeconds) }}
{{- end }}

{{/* Sleep, budget, and 10 seconds for the last answers to be sent and the process to end. */}}
{{- define "chatbot.drain.leastGraceSeconds" -}}
{{ add (include "chatbot.drain.preStopSeconds" .) .Values.drainSeconds 10 }}
{{- end }}

{{- define "chatbot.drain.graceSeconds" -}}
{{ default (include "chatbot.drain.leastGraceSeconds" .) .Values.terminationGracePeriodSeconds | int }}
{{- end }}

{{/* What an uninstall needs at least: a pod may use all of its grace, after history was waited for a little. */}}
{{- define "chatbot.drain.leastUninstallSeconds" -}}
{{ add (include "chatbot.drain.graceSeconds" .) 40 }}
{{- end }}

{{/* How long an uninstall may drain chat. */}}
{{- define "chatbot.drain.uninstallSeconds" -}}
{{ default (include "chatbot.drain.leastUninstallSeconds" . | int | max 240) (int .Values.uninstall.timeoutSeconds) }}
{{- end }}
