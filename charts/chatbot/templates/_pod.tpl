{{/*
The pod template of a part. Takes the part and:
  config    text of its ConfigMap; a change of it replaces the pods
  env       list of variables
  volumes, mounts  lists, beside /tmp
*/}}
{{- define "chatbot.pod" -}}
{{- $values := .values }}
{{- $root := .root }}
metadata:
  labels:
    {{- include "chatbot.part.podLabels" . | nindent 4 }}
  annotations:
    checksum/config: {{ sha256sum .config }}
    {{- with mergeOverwrite (dict) ($root.Values.commonAnnotations | default dict) ($values.podAnnotations | default dict) }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
spec:
  {{- include "chatbot.pullSecrets" $root | indent 2 }}
  serviceAccountName: {{ include "chatbot.part.serviceAccountName" . | quote }}
  automountServiceAccountToken: {{ $values.serviceAccount.automountToken }}
  enableServiceLinks: false
  terminationGracePeriodSeconds: {{ include "chatbot.drain.graceSeconds" $root }}
  securityContext:
    {{- include "chatbot.podSecurityContext" (dict "root" $root "values" $values.podSecurityContext) | nindent 4 }}
  {{- with $values.extraInitContainers }}
  initContainers:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  containers:
    - name: {{ .name }}
      image: {{ include "chatbot.part.image" . | quote }}
      imagePullPolicy: {{ $root.Values.image.pullPolicy }}
      ports:
        - name: http
          containerPort: {{ .port }}
          protocol: TCP
        - name: metrics
          containerPort: {{ .metricsPort }}
          protocol: TCP
      envFrom:
        - configMapRef:
            name: {{ include "chatbot.part.name" . | quote }}
        {{- with $values.extraEnvFrom }}
        {{- toYaml . | nindent 8 }}
        {{- end }}
      {{- with concat .env ($values.extraEnv | default list) }}
      env:
        {{- toYaml . | nindent 8 }}
      {{- end }}
      {{- range $name, $probe := include "chatbot.probes" . | fromYaml }}
      {{ $name }}:
        {{- $own := index $values $name | default dict }}
        {{- if or $own.exec $own.tcpSocket $own.grpc }}
        {{- $probe = omit $probe "httpGet" }}
        {{- end }}
        {{- mergeOverwrite (dict) $probe $own | toYaml | nindent 8 }}
      {{- end }}
      lifecycle:
        {{- $sleep := list "sleep" (include "chatbot.drain.preStopSeconds" $root) }}
        {{- $lifecycle := $values.lifecycle | default dict }}
        {{- if not $lifecycle.preStop }}
        {{- $lifecycle = merge (dict "preStop" (dict "exec" (dict "command" $sleep))) $lifecycle }}
        {{- end }}
        {{- toYaml $lifecycle | nindent 8 }}
      securityContext:
        {{- include "chatbot.securityContext" $values.securityContext | nindent 8 }}
      resources:
        {{- $resources := mergeOverwrite (dict) (deepCopy .resources) ($values.resources | default dict | deepCopy) }}
        {{- range $amounts := $resources }}
        {{- if kindIs "map" $amounts }}
        {{- range $resource, $amount := $amounts }}
        {{- if kindIs "invalid" $amount }}{{- /* null takes away what the chart works out; Kubernetes would read 0 */}}
        {{- $_ := unset $amounts $resource }}
        {{- end }}
        {{- end }}
        {{- end }}
        {{- end }}
        {{- toYaml $resources | nindent 8 }}
      volumeMounts:
        - name: tmp
          mountPath: /tmp
        {{- with concat .mounts ($values.extraVolumeMounts | default list) }}
        {{- toYaml . | nindent 8 }}
        {{- end }}
    {{- with $values.extraContainers }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
  volumes:
    - name: tmp
      emptyDir:
        sizeLimit: 256Mi
    {{- with concat .volumes ($values.extraVolumes | default list) }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
  topologySpreadConstraints:
    {{- default (include "chatbot.spread" . | fromYamlArray) $values.topologySpreadConstraints | toYaml | nindent 4 }}
  {{- range $key := list "nodeSelector" "tolerations" "affinity" "priorityClassName" "runtimeClassName" "schedulerName" "hostAliases" "dnsPolicy" "dnsConfig" }}
  {{- with index $values $key }}
  {{ $key }}: {{- ternary (printf " %s" (toJson .)) (toYaml . | nindent 4) (kindIs "string" .) }}
  {{- end }}
  {{- end }}
{{- end }}

{{/*
startup: is it there; stores need not be reachable for that. liveness: does its event loop turn; no outage of a store restarts pods.
readiness: does it take clients; not before it has reached its stores once, not while it is full, and not while it drains.
*/}}
{{- define "chatbot.probes" -}}
startupProbe:
  httpGet: {path: /healthz, port: http}
  periodSeconds: 1
  timeoutSeconds: 3
  failureThreshold: 60
livenessProbe:
  httpGet: {path: /healthz, port: http}
  periodSeconds: 10
  timeoutSeconds: 5
  failureThreshold: 6
readinessProbe:
  httpGet: {path: /readyz, port: http}
  periodSeconds: 3
  timeoutSeconds: 3
  failureThreshold: 2
{{- end }}

{{- define "chatbot.pullSecrets" -}}
{{- $names := .Values.image.pullSecrets | default list }}
{{- range (.Values.global | default dict).imagePullSecrets }}
{{- $names = append $names (kindIs "map" . | ternary (get (kindIs "map" . | ternary . dict) "name") .) }}
{{- end }}
{{- with uniq $names }}
imagePullSecrets:
  {{- range . }}
  - name: {{ . | quote }}
  {{- end }}
{{- end }}
{{- end }}

{{/* Over zones, then over nodes, as far as it goes: a pod that fits nowhere else still starts. */}}
{{- define "chatbot.spread" -}}
{{- range $key := list "topology.kubernetes.io/zone" "kubernetes.io/hostname" }}
- maxSkew: 1
  topologyKey: {{ $key }}
  whenUnsatisfiable: ScheduleAnyway
  labelSelector:
    matchLabels:
      {{- include "chatbot.part.selector" $ | nindent 6 }}
{{- end }}
{{- end }}

{{/*
The Pod Security Standard "restricted", with what the user says over it. OpenShift gives each namespace ids of its own and refuses
others. Takes root and values (podSecurityContext).
*/}}
{{- define "chatbot.podSecurityContext" -}}
{{- $restricted := dict "runAsNonRoot" true "fsGroupChangePolicy" "OnRootMismatch" "seccompProfile" (dict "type" "RuntimeDefault") }}
{{- if ne (include "chatbot.platform" .root) "openshift" }}
{{- $restricted = merge $restricted (dict "runAsUser" 10001 "runAsGroup" 10001 "fsGroup" 10001) }}
{{- end }}
{{- mergeOverwrite $restricted (.values | default dict) | toYaml }}
{{- end }}

{{/* What the cluster is: kubernetes or openshift. */}}
{{- define "chatbot.platform" -}}
{{- default (ternary "openshift" "kubernetes" (.Capabilities.APIVersions.Has "security.openshift.io/v1")) .Values.platform }}
{{- end }}

{{- define "chatbot.securityContext" -}}
{{- $restricted := dict
  "allowPrivilegeEscalation" false
  "readOnlyRootFilesystem" true
  "capabilities" (dict "drop" (list "ALL")) }}
{{- mergeOverwrite $restricted (. | default dict) | toYaml }}
{{- end }}
