{{/* Names, labels and pods. Most helpers take a part: (dict "root" $ "name" "judge" "values" .Values.judge). */}}

{{- define "loadtest.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 40 | trimSuffix "-" }}
{{- end }}

{{- define "loadtest.fullname" -}}
{{- $name := include "loadtest.name" . }}
{{- $full := ternary .Release.Name (printf "%s-%s" .Release.Name $name) (contains $name .Release.Name) }}
{{- default $full .Values.fullnameOverride | trunc 40 | trimSuffix "-" }}
{{- end }}

{{- define "loadtest.selector" -}}
app.kubernetes.io/name: {{ include "loadtest.name" .root }}
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/component: {{ .name }}
{{- end }}

{{/* The metadata of an object. Takes root, and name: the part it belongs to. */}}
{{- define "loadtest.metadata" -}}
{{- $own := include "loadtest.selector" . | fromYaml }}
{{- $own = merge $own (dict
  "app.kubernetes.io/part-of" "chatbot"
  "app.kubernetes.io/version" .root.Chart.AppVersion
  "app.kubernetes.io/managed-by" .root.Release.Service
  "helm.sh/chart" (printf "%s-%s" .root.Chart.Name .root.Chart.Version | replace "+" "_")) -}}
name: {{ include "loadtest.fullname" .root }}-{{ .name }}
namespace: {{ .root.Release.Namespace }}
labels:
  {{- merge $own (.root.Values.commonLabels | default dict) | toYaml | nindent 2 }}
{{- with .root.Values.commonAnnotations }}
annotations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{- define "loadtest.image" -}}
{{- $image := .Values.image }}
{{- $repository := $image.repository }}
{{- with $image.registry }}
{{- $repository = printf "%s/%s" (trimSuffix "/" .) $repository }}
{{- end }}
{{- if $image.digest -}}
{{ $repository }}@{{ $image.digest }}
{{- else -}}
{{ $repository }}:{{ default .Chart.AppVersion $image.tag }}
{{- end }}
{{- end }}

{{- define "loadtest.serviceAccountName" -}}
{{- $account := .Values.serviceAccount }}
{{- ternary (include "loadtest.fullname" .) "default" $account.create | default $account.name | coalesce $account.name }}
{{- end }}

{{/* The template of a part's pods, but for what its container does. Takes the part, and args, env, mounts, volumes. */}}
{{- define "loadtest.pod" -}}
{{- $values := .root.Values -}}
metadata:
  labels:
    {{- mergeOverwrite (dict) ($values.commonLabels | default dict) ($values.podLabels | default dict) (include "loadtest.selector" . | fromYaml) | toYaml | nindent 4 }}
  {{- with $values.podAnnotations }}
  annotations:
    {{- toYaml . | nindent 4 }}
  {{- end }}
spec:
  restartPolicy: {{ .restartPolicy }}
  serviceAccountName: {{ include "loadtest.serviceAccountName" .root }}
  automountServiceAccountToken: false
  enableServiceLinks: false
  securityContext:
    runAsNonRoot: true
    runAsUser: 10001
    runAsGroup: 10001
    fsGroup: 10001
    seccompProfile: {type: RuntimeDefault}
  {{- with $values.image.pullSecrets }}
  imagePullSecrets:
    {{- range . }}
    - name: {{ . }}
    {{- end }}
  {{- end }}
  {{- with $values.priorityClassName }}
  priorityClassName: {{ . }}
  {{- end }}
  {{- with $values.nodeSelector }}
  nodeSelector:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with $values.tolerations }}
  tolerations:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with $values.affinity }}
  affinity:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  containers:
    - name: {{ .name }}
      image: {{ include "loadtest.image" .root | quote }}
      imagePullPolicy: {{ $values.image.pullPolicy }}
      command: {{ toJson .command }}
      args:
        {{- toYaml .args | nindent 8 }}
      {{- with .env }}
      env:
        {{- toYaml . | nindent 8 }}
      {{- end }}
      {{- with .ports }}
      ports:
        {{- toYaml . | nindent 8 }}
      {{- end }}
      resources:
        {{- toYaml .values.resources | nindent 8 }}
      securityContext:
        allowPrivilegeEscalation: false
        readOnlyRootFilesystem: true
        capabilities: {drop: [ALL]}
      volumeMounts:
        - {name: tmp, mountPath: /tmp}
        {{- with .mounts }}
        {{- toYaml . | nindent 8 }}
        {{- end }}
  volumes:
    - {name: tmp, emptyDir: {}}
    {{- with .volumes }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
{{- end }}

{{/* The variables of every pod, as a list under "env". */}}
{{- define "loadtest.env" -}}
env:
  - {name: LOADTEST_SOAK_SECONDS, value: {{ .Values.soakSeconds | int64 | quote }}}
  {{- with .Values.auth }}
  {{- if .existingSecret }}
  - name: LOADTEST_TOKEN_SECRET
    valueFrom: {secretKeyRef: {name: {{ .existingSecret }}, key: {{ .secretKey }}}}
  - {name: LOADTEST_TOKEN_AUDIENCE, value: {{ .audience | quote }}}
  {{- end }}
  {{- end }}
{{- end }}
