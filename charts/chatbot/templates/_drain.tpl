{{/* All that follows from the one drain budget. */}}

{{/* Sleep before the signal, until load balancers know that the pod is going: a fifth, 3 to 10 seconds. */}}
{{- define "chatbot.drain.preStopSeconds" -}}
{{ div .Values.drainSeconds 5 | max 3 | min 10 }}
{{- end }}

{{/* Sleep, budget, and 10 seconds for the last answers to be sent and the process to end. */}}
{{- define "chatbot.drain.graceSeconds" -}}
{{ add (include "chatbot.drain.preStopSeconds" .) .Values.drainSeconds 10 }}
{{- end }}
