{{- /* What the Deployment is put together from, and which values do not go together. */ -}}

{{- define "touchseal.check" -}}
{{- if and (gt (int .Values.replicaCount) 1) (not .Values.leaderElection.enabled) }}
{{- fail "replicaCount above 1 needs leaderElection.enabled: without it each replica would write" }}
{{- end }}
{{- if and (or .Values.podMonitor.enabled .Values.serviceMonitor.enabled) (not .Values.metrics.enabled) }}
{{- fail "podMonitor and serviceMonitor need metrics.enabled: else the metrics are served inside the pod only" }}
{{- end }}
{{- if and .Values.podMonitor.enabled (eq .Values.metrics.auth "kubernetes") (not .Values.podMonitor.authorization) }}
{{- fail "podMonitor.authorization must name a Secret with a token of Prometheus where metrics.auth is kubernetes" }}
{{- end }}
{{- with .Values.nodeKey }}
{{- if and .enabled (not .nodeSelector) }}
{{- fail "nodeKey.nodeSelector must name the node the YubiKey is plugged into" }}
{{- end }}
{{- if and .enabled (not .serial) }}
{{- fail "nodeKey.serial must be the YubiKey's serial number" }}
{{- end }}
{{- if and .enabled (not .fingerprint) }}
{{- fail "nodeKey.fingerprint must be the keyring's: touchseal keyring show" }}
{{- end }}
{{- end }}
{{- end -}}

{{- define "touchseal.args" -}}
{{- with .Values -}}
- --service-account={{ include "touchseal.serviceAccountName" $ }}
{{- with .watchNamespaces }}
- --namespaces={{ join "," . }}
{{- end }}
- --log-level={{ .logLevel }}
- --log-format={{ .logFormat }}
- --concurrency={{ .concurrency }}
- --leader-elect={{ .leaderElection.enabled }}
- --lease-duration={{ .leaderElection.leaseDuration }}
- --renew-deadline={{ .leaderElection.renewDeadline }}
- --retry-period={{ .leaderElection.retryPeriod }}
- --hand-over-wait={{ .handOverWait }}
- --mount-refresh={{ .mountRefresh }}
- --health-probe-bind-address={{ .listenAddress }}:{{ .probes.port }}
{{- if .metrics.enabled }}
- --metrics-bind-address={{ .listenAddress }}:{{ .metrics.port }}
- --metrics-auth={{ .metrics.auth }}
{{- if include "touchseal.metricsSecret" $ }}
- --metrics-tls-cert-file=/metrics-tls/tls.crt
- --metrics-tls-key-file=/metrics-tls/tls.key
{{- end }}
{{- else }}
- --metrics-bind-address=127.0.0.1:{{ .metrics.port }}
{{- end }}
{{- range .extraArgs }}
- {{ . | quote }}
{{- end }}
{{- end }}
{{- end -}}

{{- define "touchseal.metricsSecret" -}}
{{- if .Values.metrics.enabled }}{{ .Values.metrics.tls.secretName }}{{ end -}}
{{- end -}}

{{- /* One with other fields needs another name: what it says of preemption cannot be changed. */ -}}
{{- define "touchseal.priorityClassName" -}}
{{- if .Values.priorityClassName -}}
{{- .Values.priorityClassName -}}
{{- else if .Values.priorityClass.create -}}
{{- include "touchseal.clusterName" (list . "priority") -}}
{{- end -}}
{{- end -}}
