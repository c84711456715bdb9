{{- define "why502.collector.toml" -}}
{{- $service := printf "why502.%s.svc" .Release.Namespace -}}
[ingest]
listen = "0.0.0.0:5020"

[api]
listen = "0.0.0.0:5021"

[store]
dir = "/var/lib/why502"

[tls]
names = {{ .Values.collector.names | default (list $service (printf "%s.cluster.local" $service)) | toJson }}
{{ .Values.collector.extraConfig }}
{{- end }}
