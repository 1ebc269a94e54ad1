{{/*
A pod of `helm test`: runs a script with the client in the image of chat. It goes when it has passed, and stays for its log
when it has not. Takes root, test (its name) and script.
*/}}
{{- define "chatbot.test" -}}
{{- $root := .root }}
{{- $tests := $root.Values.tests }}
{{- $part := dict "root" $root "name" "test" "values" $root.Values.chat "suffix" (printf "-%s" .test) -}}
apiVersion: v1
kind: Pod
metadata:
  {{- include "chatbot.metadata" (merge $part (dict "labels" $tests.podLabels "annotations" (merge (dict
    "helm.sh/hook" "test"
    "helm.sh/hook-delete-policy" "before-hook-creation,hook-succeeded") ($tests.podAnnotations | default dict)))) | nindent 2 }}
spec:
  {{- include "chatbot.pullSecrets" $root | indent 2 }}
  restartPolicy: Never
  automountServiceAccountToken: false
  enableServiceLinks: false
  securityContext:
    {{- include "chatbot.podSecurityContext" (dict "root" $root "values" $root.Values.chat.podSecurityContext) | nindent 4 }}
  containers:
    - name: client
      image: {{ include "chatbot.part.image" $part | quote }}
      imagePullPolicy: {{ $root.Values.image.pullPolicy }}
      command: [sh, -ec]
      args:
        - |
          {{- include "chatbot.test.token" $root | nindent 10 }}
          {{- include "chatbot.test.patiently" $root | trim | nindent 10 }}
          {{- .script | trim | nindent 10 }}
      env:
        - name: HOME
          value: /tmp
        - name: CHAT_URL
          value: ws://{{ include "chatbot.fullname" $root }}-chat:{{ $root.Values.chat.service.port }}
        - name: CHAT_HISTORY_URL
          value: {{ include "chatbot.historyUrl" $root | quote }}
        - name: CHAT_CLIENT_ID
          value: {{ $tests.clientId | quote }}
        - name: CHAT_TIME_ZONE
          value: {{ $tests.timeZone | quote }}
        {{- if eq $root.Values.auth.mode "jwt" }}
        - name: CHAT_TOKEN_FILE
          value: /tmp/token
        - name: TOKEN_AUDIENCE
          value: {{ $root.Values.auth.audience | quote }}
        {{- with $root.Values.auth.issuer }}
        - name: TOKEN_ISSUER
          value: {{ . | quote }}
        {{- end }}
        {{- with $tests.tokenSecret }}
        {{- include "chatbot.env.secret" (dict "name" "TOKEN" "secret" . "key" "token") | trim | nindent 8 }}
        {{- else }}
        {{- include "chatbot.env.secret" (dict "name" "CHAT_TOKEN_SECRET" "secret" $root.Values.auth.existingSecret "key" $root.Values.auth.tokenSecretsKey) | trim | nindent 8 }}
        {{- end }}
        {{- end }}
      securityContext:
        {{- include "chatbot.securityContext" $root.Values.chat.securityContext | nindent 8 }}
      resources:
        {{- toYaml $tests.resources | nindent 8 }}
      workingDir: /tmp
      volumeMounts:
        - name: tmp
          mountPath: /tmp
  volumes:
    - name: tmp
      emptyDir:
        sizeLimit: 64Mi
  {{- range $key := list "nodeSelector" "tolerations" }}
  {{- with index $root.Values.chat $key }}
  {{ $key }}:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- end }}
{{- end }}

{{/*
A function that runs a command again while the store of the limits learns, which takes a lease after an install and lets nobody in.
*/}}
{{- define "chatbot.test.patiently" -}}
{{- $tries := add 30 (mul 2 (ceil .Values.limits.leaseSeconds)) }}
patiently() {
  for _ in $(seq {{ $tries }}); do
    code=0
    said=$("$@" 2>&1) || code=$?
    case "$said" in
      *limits_learning*) sleep 1 ;;
      *) break ;;
    esac
  done
  if [ "$code" = 0 ]; then echo "$said"; else echo "$said" >&2; fi
  return "$code"
}
{{- end }}

{{/* Puts a token into the file where the client looks for it. */}}
{{- define "chatbot.test.token" -}}
{{- if ne .Values.auth.mode "jwt" }}
{{- else if .Values.tests.tokenSecret -}}
printenv TOKEN > /tmp/token
{{- else -}}
chat-client token --lifetime 10m --audience "$TOKEN_AUDIENCE" ${TOKEN_ISSUER:+--issuer "$TOKEN_ISSUER"} > /tmp/token
{{- end }}
{{- end }}
