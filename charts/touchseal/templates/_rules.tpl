{{- /* What the operator may do, once, for the ClusterRole or for Roles in the watched namespaces. Only what its code does. */ -}}

{{- /* Objects without a namespace. */ -}}
{{- define "touchseal.rulesOfTheCluster" -}}
- apiGroups: [touchseal.dev]
  resources: [keyrings]
  verbs: [get, list, watch]
- apiGroups: [touchseal.dev]
  resources: [incidents]
  verbs: [list, watch]
- apiGroups: [touchseal.dev]
  resources: [keyrings/status, incidents/status]
  verbs: [patch]
# Whether another replica's request for a hand-over is what it says.
- apiGroups: [authentication.k8s.io]
  resources: [tokenreviews]
  verbs: [create]
{{- end -}}

{{- /* Which namespaces there are; or whether those of watchNamespaces are, each watched by its name. */ -}}
{{- define "touchseal.rulesToFindNamespaces" -}}
- apiGroups: [""]
  resources: [namespaces]
  {{- with .Values.watchNamespaces }}
  resourceNames: {{ toJson . }}
  {{- end }}
  verbs: [list, watch]
{{- end -}}

{{- /* Wherever there are EncryptedSecrets. */ -}}
{{- define "touchseal.rulesOfNamespaces" -}}
- apiGroups: [touchseal.dev]
  resources: [encryptedsecrets]
  verbs: [get, list, watch]
- apiGroups: [touchseal.dev]
  resources: [encryptedsecrets/status]
  verbs: [update]
- apiGroups: [touchseal.dev]
  resources: [recipients]
  verbs: [list, watch, create, patch]
# create makes one, patch (server-side apply) changes it, get classifies a Secret in the way, delete replaces an immutable one.
# The admission policy narrows the writes to Secrets of ours.
- apiGroups: [""]
  resources: [secrets]
  verbs: [get, list, watch, create, patch, delete]
# get, list and watch are for documents; create, patch and delete for the ConfigMap NAME-current of delivery Immutable.
# The admission policy narrows the writes to ConfigMaps of ours.
- apiGroups: [""]
  resources: [configmaps]
  verbs: [get, list, watch, create, patch, delete]
# Before an old generation's Secret goes: does a workload's template still name it?
- apiGroups: [""]
  resources: [replicationcontrollers]
  verbs: [list]
- apiGroups: [apps]
  resources: [deployments, statefulsets, daemonsets, replicasets]
  verbs: [list]
- apiGroups: [batch]
  resources: [jobs, cronjobs]
  verbs: [list]
# Which pods hold which content. Without this right that is unknown; it can also be given in single namespaces only.
- apiGroups: [""]
  resources: [pods]
  verbs: [list, watch]
{{ include "touchseal.rulesOfEvents" . }}
{{- end -}}

{{- define "touchseal.rulesOfEvents" -}}
- apiGroups: [events.k8s.io]
  resources: [events]
  verbs: [create, patch]
{{- end -}}

{{- /* The operator's own namespace: requests, pins, the ledger, the Lease and the proof. */ -}}
{{- define "touchseal.rulesOfOwnNamespace" -}}
- apiGroups: [touchseal.dev]
  resources: [unsealrequests]
  verbs: [list, watch, create, patch, delete]
- apiGroups: [touchseal.dev]
  resources: [enrolments]
  verbs: [list, watch]
- apiGroups: [touchseal.dev]
  resources: [unsealrequests/status, enrolments/status]
  verbs: [patch]
- apiGroups: [""]
  resources: [configmaps]
  verbs: [get, list, watch, create, update]
# Which replicas are gone, and whether one that asks for a hand-over is alive.
- apiGroups: [""]
  resources: [pods]
  verbs: [get, list, watch]
# Which replica leads. A create cannot be held to a name.
- apiGroups: [coordination.k8s.io]
  resources: [leases]
  verbs: [create]
- apiGroups: [coordination.k8s.io]
  resources: [leases]
  resourceNames: [touchseal-operator]
  verbs: [get, list, watch, update]
# The proof: a token of this very ServiceAccount whose audience is one session.
- apiGroups: [""]
  resources: [serviceaccounts/token]
  resourceNames: [{{ include "touchseal.serviceAccountName" . }}]
  verbs: [create]
{{- end -}}

{{- /* Restarting workloads; a policy leaves it one annotation. */ -}}
{{- define "touchseal.rulesOfRollout" -}}
- apiGroups: [apps]
  resources: [deployments, statefulsets, daemonsets]
  verbs: [get, patch]
{{- end -}}

{{- define "touchseal.operatorSubject" -}}
- kind: ServiceAccount
  name: {{ include "touchseal.serviceAccountName" . }}
  namespace: {{ .Release.Namespace }}
{{- end -}}

{{- /* (dict "root" $ "name" n "namespace" ns "component" c "rules" text "subjects" text): a Role bound to its subjects, or
without a namespace a ClusterRole. */ -}}
{{- define "touchseal.grant" -}}
{{- $kind := empty .namespace | ternary "ClusterRole" "Role" }}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: {{ $kind }}
metadata:
  {{- include "touchseal.metadata" . | nindent 2 }}
rules:
{{ .rules }}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: {{ $kind }}Binding
metadata:
  {{- include "touchseal.metadata" . | nindent 2 }}
roleRef:
  apiGroup: rbac.authorization.k8s.io
  kind: {{ $kind }}
  name: {{ .name }}
subjects:
{{ .subjects }}
{{- end -}}

{{- /* (dict "root" $ "name" n "component" c): the binding that puts the admission policy of that name in force. */ -}}
{{- define "touchseal.policyBinding" -}}
---
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicyBinding
metadata:
  {{- include "touchseal.metadata" . | nindent 2 }}
spec:
  policyName: {{ .name }}
  validationActions: [Deny]
{{- end -}}
