{{/*
What a schema cannot say, or not in words: values that must be there, and values that must fit together. All mistakes are
told at once, each with what to do.
*/}}
{{- define "chatbot.checks" -}}
{{- $wrong := list }}
{{- range splitList "\n" (include "chatbot.checks.needed" . | trim) }}{{ $wrong = append $wrong (trim .) }}{{ end }}
{{- range splitList "\n" (include "chatbot.checks.fit" . | trim) }}{{ $wrong = append $wrong (trim .) }}{{ end }}
{{- range splitList "\n" (include "chatbot.checks.secrets" . | trim) }}{{ $wrong = append $wrong (trim .) }}{{ end }}
{{- with compact $wrong }}
{{- fail (printf "\n\nThe values do not work yet:\n\n  - %s\n\nvalues.yaml explains each value.\n" (join "\n  - " .)) }}
{{- end }}
{{- end }}

{{/* One mistake a line. */}}
{{- define "chatbot.checks.needed" -}}
{{- with .Values.auth }}
{{- if eq .mode "jwt" }}
{{- if not .existingSecret }}
auth.existingSecret is needed: the name of a Secret with the keys {{ include "chatbot.auth.keys" . | fromYamlArray | join " and " }} (or set auth.mode=none, with which client ids are not checked)
{{- end }}
{{- if not (or .tokenSecretsKey .jwksUrl) }}
auth.tokenSecretsKey or auth.jwksUrl is needed: what tokens are checked by
{{- end }}
{{- if not (or .tokenSecretsKey .mediaAddressSecretsKey) }}
auth.mediaAddressSecretsKey is needed where there are no token secrets: the key of the secrets that sign addresses of media
{{- end }}
{{- if and $.Values.tests.enabled (not (or .tokenSecretsKey $.Values.tests.tokenSecret)) }}
tests.tokenSecret is needed where there are no token secrets to sign with (or tests.enabled=false)
{{- end }}
{{- end }}
{{- end }}
{{- range $store := ternary (list "redis" "mongodb") (list "redis") .Values.history.enabled }}
{{- with index $.Values $store }}
{{- if and (not .url) (not .existingSecret) }}
{{ $store }}.existingSecret is needed, the name of a Secret with the address under {{ .existingSecretKey }}; or {{ $store }}.url, an address without a password
{{- else if and .existingSecretPasswordKey (not (and .url .existingSecret)) }}
{{ $store }}.existingSecretPasswordKey needs both: {{ $store }}.url, the address without the password, and {{ $store }}.existingSecret
{{- else if and .url .existingSecret (not .existingSecretPasswordKey) }}
{{ $store }}.url and {{ $store }}.existingSecret are both set: remove one, or name the key of the password in {{ $store }}.existingSecretPasswordKey
{{- else if regexMatch "//[^/?@]*:[^/?@]*@" (.url | default "") }}
{{ $store }}.url holds a password, which everybody could read: put the address into a Secret and name it in {{ $store }}.existingSecret
{{- else if and .existingSecretPasswordKey (eq $store "mongodb") (not (regexMatch "//[^/?@]+@" .url)) }}
mongodb.url names no user for the password: mongodb://USER@HOST/
{{- end }}
{{- end }}
{{- end }}
{{- if and .Values.history.enabled .Values.history.url }}
history.url is for a release without a history of its own: remove it, or set history.enabled=false
{{- else if not (or .Values.history.enabled .Values.history.url) }}
history.url is needed where history.enabled is false: the address of the history that chat delivers to
{{- end }}
{{- if and .Values.history.enabled (not .Values.s3.bucket) }}
s3.bucket is needed: where voices, videos and pictures are kept
{{- end }}
{{- range $way := list "ingress" "gateway" }}
{{- if and (index $.Values $way).enabled (not (compact (values (include "chatbot.publicPaths" $ | fromYaml)))) }}
publicPaths is empty, and {{ $way }}.enabled is true: name the paths that clients reach, or set {{ $way }}.enabled=false
{{- end }}
{{- end }}
{{- if and .Values.publicPage (eq (get (.Values.chat.settings | default dict) "CHAT_WEB" | toString) "false") }}
publicPage is true, and chat.settings turns the page off (CHAT_WEB): remove one of them
{{- end }}
{{- range $path := .Values.publicPaths.history }}
{{- if regexMatch "^/(v1(/(exchanges(/.*)?)?)?)?$" $path }}
publicPaths.history holds {{ $path }}, which would let POST /v1/exchanges in from outside: name the paths that clients read, such as /v1/sessions
{{- end }}
{{- end }}
{{- if and .Values.ingress.enabled (not .Values.ingress.host) }}
ingress.host is needed: the name by which clients reach the chatbot
{{- end }}
{{- if .Values.gateway.enabled }}
{{- range $list := list "parentRefs" "hostnames" }}
{{- if not (index $.Values.gateway $list) }}
gateway.{{ $list }} is needed: an HTTPRoute without it would be for nobody, or for everybody
{{- end }}
{{- end }}
{{- end }}
{{- end }}

{{- define "chatbot.checks.fit" -}}
{{- include "chatbot.checks.unique" . }}
{{- range $store, $there := .Values.networkPolicy }}
{{- if and (kindIs "map" $there) $there.endPort (lt (int $there.endPort) (int $there.port)) }}
networkPolicy.{{ $store }}.endPort ({{ int $there.endPort }}) must not be less than port ({{ int $there.port }})
{{- end }}
{{- end }}
{{- with get (.Values.chat.settings | default dict) "CHAT_TIME_ZONES" }}
{{- if and $.Values.tests.enabled (not (include "chatbot.checks.zoneIsServed" (dict "zone" $.Values.tests.timeZone "served" .))) }}
tests.timeZone ({{ $.Values.tests.timeZone }}) is not among the served zones (CHAT_TIME_ZONES: {{ . }}), so helm test would be denied: name one that is
{{- end }}
{{- end }}
{{- with .Values.sizing }}
{{- if lt (int .maxConnectionMiB) (int .maxFrameMiB) }}
sizing.maxConnectionMiB ({{ .maxConnectionMiB }}) must be at least sizing.maxFrameMiB ({{ .maxFrameMiB }})
{{- end }}
{{- if lt (int $.Values.chat.outbox.maxMiB) (mul 2 .maxFrameMiB | int) }}
chat.outbox.maxMiB ({{ $.Values.chat.outbox.maxMiB }}) must be at least twice sizing.maxFrameMiB ({{ .maxFrameMiB }})
{{- end }}
{{- end }}
{{- include "chatbot.checks.sizing" . }}
{{- if lt (include "chatbot.drain.graceSeconds" . | int) (include "chatbot.drain.leastGraceSeconds" . | int) }}
terminationGracePeriodSeconds ({{ .Values.terminationGracePeriodSeconds }}) must be at least {{ include "chatbot.drain.leastGraceSeconds" . }}, which the sleep before the signal and drainSeconds need, or pods are killed while they drain
{{- end }}
{{- $least := include "chatbot.drain.leastUninstallSeconds" . }}
{{- if and .Values.uninstall.drain (lt (include "chatbot.drain.uninstallSeconds" . | int) (int $least)) }}
uninstall.timeoutSeconds ({{ .Values.uninstall.timeoutSeconds }}) must be at least {{ $least }}, so that a pod may take the {{ include "chatbot.drain.graceSeconds" . }} seconds that follow from drainSeconds
{{- end }}
{{- if and .Values.caBundle.configMap .Values.caBundle.secret }}
caBundle.configMap and caBundle.secret are both set: remove one
{{- end }}
{{- $memory := include "chatbot.chat.worstMiB" . | int }}
{{- if and (gt $memory 65536) (not (dig "limits" "memory" "" .Values.chat.resources)) }}
a chat pod that held all {{ .Values.limits.connections | int }} connections would need {{ div $memory 1024 }} GiB: limit the connections of a pod with sizing.connectionsPerPod
{{- end }}
{{- range $name := include "chatbot.parts" $ | fromYamlArray }}
{{- $values := index $.Values $name }}
{{- with $values.autoscaling }}
{{- if gt (int .minReplicas) (int .maxReplicas) }}
{{ $name }}.autoscaling.minReplicas ({{ .minReplicas }}) must not be more than maxReplicas ({{ .maxReplicas }})
{{- end }}
{{- if and (eq .mode "connections") (not .prometheusUrl) }}
{{ $name }}.autoscaling.prometheusUrl is needed: the address of Prometheus, which counts the connections
{{- end }}
{{- end }}
{{- with $values.service }}
{{- if and (eq (.ipFamilyPolicy | default "") "SingleStack") (gt (len (.ipFamilies | default list)) 1) }}
{{ $name }}.service.ipFamilies holds two, and ipFamilyPolicy SingleStack allows one: use PreferDualStack, or name one
{{- end }}
{{- if eq .type "ClusterIP" }}
{{- range $key := list "nodePort" "externalTrafficPolicy" "loadBalancerClass" "loadBalancerSourceRanges" }}
{{- if index $values.service $key }}
{{ $name }}.service.{{ $key }} is not for a service of type ClusterIP: remove it, or set {{ $name }}.service.type
{{- end }}
{{- end }}
{{- end }}
{{- end }}
{{- range $variable := $values.extraEnv }}
{{- if has $variable.name (include "chatbot.env.ours" $ | fromYamlArray) }}
{{ $name }}.extraEnv holds {{ $variable.name }}, which the chart sets: use its own value
{{- else if hasKey (include (printf "chatbot.%s.config" $name) $ | fromYaml) $variable.name }}
{{ $name }}.extraEnv holds {{ $variable.name }}, which would override what the chart sets from its values: use these, or {{ $name }}.settings
{{- end }}
{{- end }}
{{- end }}
{{- end }}

{{/* That no name is given twice where Kubernetes takes each once. */}}
{{- define "chatbot.checks.unique" -}}
{{- $lists := dict "ingress.host and extraHosts" (list .Values.ingress.host) "gateway.hostnames" (.Values.gateway.hostnames | default list) }}
{{- range .Values.ingress.extraHosts }}
{{- $_ := set $lists "ingress.host and extraHosts" (append (get $lists "ingress.host and extraHosts") .host) }}
{{- end }}
{{- range $part := include "chatbot.parts" $ | fromYamlArray }}
{{- $values := index $.Values $part }}
{{- $containers := list $part }}
{{- range concat ($values.extraContainers | default list) ($values.extraInitContainers | default list) }}
{{- $containers = append $containers .name }}
{{- end }}
{{- $_ := set $lists (printf "%s.extraContainers and extraInitContainers (with the container %s)" $part $part) $containers }}
{{- $volumes := list "tmp" "data" }}
{{- range include (ternary "chatbot.chat.volumes" "chatbot.volumes.ca" (eq $part "chat")) $ | fromYamlArray }}
{{- $volumes = append $volumes .name }}
{{- end }}
{{- range $key, $names := dict "extraVolumes" (uniq $volumes) "extraEnv" list }}
{{- range index $values $key }}
{{- $names = append $names .name }}
{{- end }}
{{- $_ := set $lists (printf "%s.%s%s" $part $key (ternary " and the volumes of the chart" "" (eq $key "extraVolumes"))) $names }}
{{- end }}
{{- end }}
{{- range $list, $names := $lists }}
{{- range $name := $names | uniq }}
{{- $times := 0 }}
{{- range $names }}{{- if eq (toString .) (toString $name) }}{{- $times = add1 $times }}{{- end }}{{- end }}
{{- if gt $times 1 }}
{{ $name }} is {{ $times }} times in {{ $list }}: remove all but one, or call them otherwise
{{- end }}
{{- end }}
{{- end }}
{{- end }}

{{/*
That the pods may hold what the limits allow, since each refuses what is above sizing.connectionsPerPod. Nothing is said where the
number of pods is left to others (null), or there are none.
*/}}
{{- define "chatbot.checks.sizing" -}}
{{- $perPod := int .Values.sizing.connectionsPerPod }}
{{- $connections := int .Values.limits.connections }}
{{- if $perPod }}
{{- with .Values.chat }}
{{- $pods := ternary .autoscaling.maxReplicas .replicas (ne (.autoscaling.mode | default "") "") | int }}
{{- $counted := ternary "chat.autoscaling.maxReplicas" "chat.replicas" (ne (.autoscaling.mode | default "") "") }}
{{- if and $pods (lt (mul $pods $perPod) (int64 $connections)) }}
limits.connections ({{ $connections }}) is more than {{ $counted }} ({{ $pods }}) pods may hold at sizing.connectionsPerPod ({{ $perPod }}) each: have {{ div (add $connections $pods -1) $pods }} connections for each pod, or {{ div (add $connections $perPod -1) $perPod }} pods
{{- end }}
{{- if and (eq (.autoscaling.mode | default "") "connections") (ge (int .autoscaling.connectionsPerPod) $perPod) }}
chat.autoscaling.connectionsPerPod ({{ .autoscaling.connectionsPerPod | int }}) must be less than sizing.connectionsPerPod ({{ $perPod }}), or pods are full, and not ready, before there are more of them
{{- end }}
{{- end }}
{{- end }}
{{- end }}

{{/* "yes" when a zone fits one of several globs, separated by commas. UTC has several names, and any of them counts. */}}
{{- define "chatbot.checks.zoneIsServed" -}}
{{- $zones := list .zone }}
{{- if has .zone (list "Etc/UTC" "UTC" "Etc/UCT" "UCT" "Zulu" "Etc/Zulu" "Universal" "Etc/Universal") }}
{{- $zones = list "Etc/UTC" "UTC" "Etc/UCT" "UCT" "Zulu" "Etc/Zulu" "Universal" "Etc/Universal" }}
{{- end }}
{{- range $glob := splitList "," .served }}
{{- $pattern := printf "^%s$" ($glob | trim | regexQuoteMeta | replace "\\*" ".*" | replace "\\?" ".") }}
{{- range $zones }}
{{- if regexMatch $pattern . }}yes{{ end }}
{{- end }}
{{- end }}
{{- end }}

{{/*
That the Secrets are there, where a cluster can be asked. Rendered offline there is none to ask, which shows by the ConfigMap
that every namespace has.
*/}}
{{- define "chatbot.checks.secrets" -}}
{{- if and .Values.checkSecrets (lookup "v1" "ConfigMap" .Release.Namespace "kube-root-ca.crt") }}
{{- range $need := include "chatbot.secrets" . | fromYamlArray }}
{{- $secret := lookup "v1" "Secret" $.Release.Namespace $need.name }}
{{- if not $secret }}
the Secret {{ $need.name }} ({{ $need.value }}) is not in the namespace {{ $.Release.Namespace }}: make it first, with the keys {{ join ", " $need.keys }}
{{- else }}
{{- range $key := $need.keys }}
{{- if not (hasKey ($secret.data | default dict) $key) }}
the Secret {{ $need.name }} ({{ $need.value }}) has no key {{ $key }}
{{- end }}
{{- end }}
{{- end }}
{{- end }}
{{- end }}
{{- end }}

{{/* The keys that the Secret of the tokens must have. Takes auth. */}}
{{- define "chatbot.auth.keys" -}}
{{- compact (list .tokenSecretsKey .historyTokenKey .contextTokenKey .mediaAddressSecretsKey) | toYaml }}
{{- end }}

{{/* Every Secret that pods read: its name, the value that names it, its keys. */}}
{{- define "chatbot.secrets" -}}
{{- $needs := list }}
{{- with .Values.auth }}
{{- if and (eq .mode "jwt") .existingSecret }}
{{- $needs = append $needs (dict "name" .existingSecret "value" "auth.existingSecret" "keys" (include "chatbot.auth.keys" . | fromYamlArray)) }}
{{- end }}
{{- end }}
{{- range $store := ternary (list "redis" "mongodb") (list "redis") .Values.history.enabled }}
{{- with index $.Values $store }}
{{- if .existingSecret }}
{{- $needs = append $needs (dict "name" .existingSecret "value" (printf "%s.existingSecret" $store) "keys" (list (.existingSecretPasswordKey | default .existingSecretKey))) }}
{{- end }}
{{- end }}
{{- end }}
{{- with .Values.s3 }}
{{- if and .existingSecret $.Values.history.enabled }}
{{- $needs = append $needs (dict "name" .existingSecret "value" "s3.existingSecret" "keys" (list .accessKeyIdKey .secretAccessKeyKey)) }}
{{- end }}
{{- end }}
{{- with .Values.chat.bot }}
{{- if .existingSecret }}
{{- $needs = append $needs (dict "name" .existingSecret "value" "chat.bot.existingSecret" "keys" (compact (list .secretKey .apiKeyKey .speechApiKeyKey))) }}
{{- end }}
{{- end }}
{{- with .Values.caBundle }}
{{- if .secret }}
{{- $needs = append $needs (dict "name" .secret "value" "caBundle.secret" "keys" (list .key)) }}
{{- end }}
{{- end }}
{{- toYaml $needs }}
{{- end }}
