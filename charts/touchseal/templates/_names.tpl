{{- /* Names and labels. A release's own objects are called after it; what has no namespace carries that of the release, so
that two releases of one name in two namespaces do not meet. */ -}}

{{- define "touchseal.name" -}}
{{- .Values.nameOverride | default .Chart.Name -}}
{{- end -}}

{{- define "touchseal.fullname" -}}
{{- $name := include "touchseal.name" . -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride -}}
{{- else if contains $name .Release.Name -}}
{{- .Release.Name | trunc 40 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name $name | trunc 40 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{- define "touchseal.operatorName" -}}
{{- include "touchseal.fullname" . }}-operator
{{- end -}}

{{- /* (list $ "operator"): the name of an object without a namespace, or in another namespace than the release's. */ -}}
{{- define "touchseal.clusterName" -}}
{{- $root := index . 0 -}}
{{- printf "%s-%s.%s" (include "touchseal.fullname" $root) (index . 1) $root.Release.Namespace -}}
{{- end -}}

{{- define "touchseal.serviceAccountName" -}}
{{- if .Values.serviceAccount.create -}}
{{- .Values.serviceAccount.name | default (include "touchseal.operatorName" .) -}}
{{- else -}}
{{- required "serviceAccount.name is needed where serviceAccount.create is false" .Values.serviceAccount.name -}}
{{- end -}}
{{- end -}}

{{- /* The operator, as the API server names who asks. */ -}}
{{- define "touchseal.operatorUser" -}}
{{- printf "system:serviceaccount:%s:%s" .Release.Namespace (include "touchseal.serviceAccountName" .) -}}
{{- end -}}

{{- define "touchseal.nodeKeyName" -}}
{{- include "touchseal.fullname" . }}-node-key
{{- end -}}

{{- define "touchseal.nodeKeyNamespace" -}}
{{- .Values.nodeKey.namespace | default (include "touchseal.nodeKeyName" .) -}}
{{- end -}}

{{- /* (dict "values" .Values.image "root" $): a reference by digest if there is one, else by tag. */ -}}
{{- define "touchseal.image" -}}
{{- $image := .values -}}
{{- if $image.digest -}}
{{- printf "%s@%s" $image.repository $image.digest -}}
{{- else -}}
{{- printf "%s:%s" $image.repository ($image.tag | default .root.Chart.AppVersion) -}}
{{- end -}}
{{- end -}}

{{- /* What selects pods: never changed by an upgrade. */ -}}
{{- define "touchseal.selectorLabels" -}}
app.kubernetes.io/name: {{ include "touchseal.name" .root }}
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/component: {{ .component }}
{{- end -}}

{{- define "touchseal.labels" -}}
{{ include "touchseal.selectorLabels" . }}
app.kubernetes.io/part-of: touchseal
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
helm.sh/chart: {{ printf "%s-%s" .root.Chart.Name .root.Chart.Version | replace "+" "_" }}
{{- end -}}

{{- /* (dict "root" $ "component" "operator" "labels" {} "annotations" {}): labels and annotations of one
object. Nobody's labels replace the chart's own. */ -}}
{{- define "touchseal.marks" -}}
labels:
  {{- merge (fromYaml (include "touchseal.labels" .)) (.labels | default dict) .root.Values.commonLabels | toYaml | nindent 2 }}
{{- with merge (dict) (.annotations | default dict) .root.Values.commonAnnotations }}
annotations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}

{{- /* The same with a name and, where there is one, a namespace: all of an object's metadata. */ -}}
{{- define "touchseal.metadata" -}}
name: {{ .name }}
{{- with .namespace }}
namespace: {{ . }}
{{- end }}
{{ include "touchseal.marks" . }}
{{- end -}}
