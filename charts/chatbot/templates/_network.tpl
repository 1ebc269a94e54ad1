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

{{/*
The way to a backing service. Takes rule (networkPolicy.redis ...) and url, whose ports count where it has some; a range
(endPort) counts more than either.
*/}}
{{- define "chatbot.egress" -}}
{{- $hosts := regexReplaceAll "\\[[^\\]]*\\]" (regexFind "//[^/?]*" .url) "" }}
{{- $usual := ternary 80 .rule.port (hasPrefix "http://" .url) -}}
- ports:
    {{- if .rule.endPort }}
    - port: {{ int .rule.port }}
      endPort: {{ int .rule.endPort }}
      protocol: TCP
    {{- else }}
    {{- range default (list (printf ":%v" $usual)) (regexFindAll ":[0-9]+" $hosts -1) | uniq }}
    - port: {{ trimPrefix ":" . }}
      protocol: TCP
    {{- end }}
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

{{/* The way to history: pods of this release, or one elsewhere. */}}
{{- define "chatbot.egress.history" -}}
{{- if .Values.history.enabled }}
{{- include "chatbot.egress.part" (dict "part" (dict "root" . "name" "history") "port" 8001) }}
{{- else }}
{{- include "chatbot.egress" (dict "rule" .Values.networkPolicy.history "url" .Values.history.url) }}
{{- end }}
{{- end }}

{{/*
What a mesh needs of every pod. Sidecars of Istio ask the control plane for settings and certificates; in ambient mode all traffic
between pods of the mesh goes by one port (HBONE).
*/}}
{{- define "chatbot.egress.mesh" -}}
{{- with .Values.networkPolicy.mesh }}
{{- if .mode -}}
- ports:
    - port: {{ eq .mode "istio-ambient" | ternary 15008 15012 }}
      protocol: TCP
  {{- with (eq .mode "istio-ambient" | ternary (list) (.controlPlane | default list)) }}
  to:
    {{- toYaml . | nindent 4 }}
  {{- end }}
{{- end }}
{{- end }}
{{- end }}

{{/* The port of a mesh, where other members of it come from, and that of its own metrics; kubelets of ambient nodes ask from one address. */}}
{{- define "chatbot.ingress.mesh" -}}
{{- with .Values.networkPolicy.mesh }}
{{- if .mode -}}
- ports:
    - port: 15008
      protocol: TCP
{{- if eq .mode "istio-ambient" }}
- from:
    - ipBlock:
        cidr: 169.254.7.127/32
{{- else }}
{{ include "chatbot.ingress" (dict "port" 15020 "peers" $.Values.networkPolicy.monitoring) }}
{{- end }}
{{- end }}
{{- end }}
{{- end }}

{{/* The agent that gives pods their identity, where S3 is reached by it (EKS Pod Identity). */}}
{{- define "chatbot.egress.identity" -}}
{{- with .Values.networkPolicy.podIdentity }}
{{- if .enabled -}}
- ports:
    - port: {{ int .port }}
      protocol: TCP
  to:
    {{- toYaml .to | nindent 4 }}
{{- end }}
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
