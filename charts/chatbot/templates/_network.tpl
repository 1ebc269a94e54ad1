{{/* Rules of NetworkPolicies. Where no peers are given, a rule is for anybody. */}}

{{/* A port of a part's pods, opened to peers. Takes port and peers. */}}
{{- define "chatbot.ingress" -}}
- ports:
    - port: {{ .port }}
      protocol: TCP
  {{- with .peers }}
  from:
    {{- toYaml . | nindent 4 }}
  {{- end }}
{{- end }}

{{/* A public port: open to clients, and to peers within the release. Takes root, port and peers. */}}
{{- define "chatbot.ingress.public" -}}
{{- $clients := .root.Values.networkPolicy.clients | default list }}
{{- include "chatbot.ingress" (dict "port" .port "peers" (ternary (concat $clients .peers) list (gt (len $clients) 0))) }}
{{- end }}

{{/* The way to a backing service. Takes rule (networkPolicy.redis ...) and url, whose ports count where it has some. */}}
{{- define "chatbot.egress" -}}
{{- $hosts := regexReplaceAll "\\[[^\\]]*\\]" (regexFind "//[^/?]*" .url) "" }}
{{- $usual := ternary 80 .rule.port (hasPrefix "http://" .url) -}}
- ports:
    {{- range default (list (printf ":%v" $usual)) (regexFindAll ":[0-9]+" $hosts -1) | uniq }}
    - port: {{ trimPrefix ":" . }}
      protocol: TCP
    {{- end }}
  {{- with .rule.to }}
  to:
    {{- toYaml . | nindent 4 }}
  {{- end }}
{{- end }}

{{- define "chatbot.egress.dns" -}}
- ports:
    {{- $openshift := ternary (list 5353) list (eq (include "chatbot.platform" .) "openshift") }}
    {{- range concat .Values.networkPolicy.dnsPorts $openshift | uniq }}
    {{- $port := . }}
    {{- range list "UDP" "TCP" }}
    - port: {{ int $port }}
      protocol: {{ . }}
    {{- end }}
    {{- end }}
  {{- with .Values.networkPolicy.dns }}
  to:
    {{- toYaml . | nindent 4 }}
  {{- end }}
{{- end }}

{{/* The way to another part of the release. Takes part and port. */}}
{{- define "chatbot.egress.part" -}}
- ports:
    - port: {{ .port }}
      protocol: TCP
  to:
    {{- list (include "chatbot.peer" .part | fromYaml) | toYaml | nindent 4 }}
{{- end }}

{{/* The pods of a part, as a peer. */}}
{{- define "chatbot.peer" -}}
podSelector:
  matchLabels:
    {{- include "chatbot.part.selector" . | nindent 4 }}
{{- end }}
