//! What each gateway calls its settings, and how one is written: the one place where advice gets its words from.

/// A setting that most gateways have under some name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Setting {
    /// How long connecting to a member may take.
    ConnectTimeout,
    /// How long sending a request may pause.
    SendTimeout,
    /// How long a member may take to answer.
    ReadTimeout,
    /// Attempts in all, and after what failures another is made.
    Retries,
    /// Time between two health checks of a member.
    CheckInterval,
    /// Time allowed to a health check.
    CheckTimeout,
    /// Failed checks in a row that take a member out.
    CheckFall,
    /// Good checks in a row that take it back.
    CheckRise,
    /// Where the health check asks.
    CheckPath,
    /// How long a member that comes back is spared.
    SlowStart,
    /// How long an idle connection to a member is kept.
    KeepaliveIdle,
    /// The largest response header that fits, bytes.
    HeaderLimit,
}

/// Every setting, in the order in which advice tells them.
pub const SETTINGS: [Setting; 12] = [
    Setting::CheckInterval,
    Setting::CheckTimeout,
    Setting::CheckFall,
    Setting::CheckRise,
    Setting::CheckPath,
    Setting::SlowStart,
    Setting::ConnectTimeout,
    Setting::SendTimeout,
    Setting::ReadTimeout,
    Setting::Retries,
    Setting::KeepaliveIdle,
    Setting::HeaderLimit,
];

/// A gateway's kind with, for each setting that it has, its name and how it is written; `{}` stands for the value.
type Names = (&'static str, &'static [(Setting, &'static str, &'static str)]);

/// Seconds and bare numbers as each gateway writes them.
#[rustfmt::skip]
const NAMES: &[Names] = &[
    ("nginx", &[
        (Setting::CheckInterval, "fail_timeout", "server ADDRESS max_fails=3 fail_timeout={}s;"),
        (Setting::CheckFall, "max_fails", "server ADDRESS max_fails={} fail_timeout=30s;"),
        (Setting::ConnectTimeout, "proxy_connect_timeout", "proxy_connect_timeout {}s;"),
        (Setting::SendTimeout, "proxy_send_timeout", "proxy_send_timeout {}s;"),
        (Setting::ReadTimeout, "proxy_read_timeout", "proxy_read_timeout {}s;"),
        (Setting::Retries, "proxy_next_upstream_tries", "proxy_next_upstream error timeout http_502 http_503 http_504; proxy_next_upstream_tries {};"),
        (Setting::KeepaliveIdle, "upstream keepalive_timeout", "keepalive_timeout {}s;  # in the upstream block"),
        (Setting::HeaderLimit, "proxy_buffer_size", "proxy_buffer_size {}; proxy_buffers 8 {};"),
    ]),
    ("ingress_nginx", &[
        (Setting::ConnectTimeout, "proxy-connect-timeout", "nginx.ingress.kubernetes.io/proxy-connect-timeout: \"{}\""),
        (Setting::SendTimeout, "proxy-send-timeout", "nginx.ingress.kubernetes.io/proxy-send-timeout: \"{}\""),
        (Setting::ReadTimeout, "proxy-read-timeout", "nginx.ingress.kubernetes.io/proxy-read-timeout: \"{}\""),
        (Setting::Retries, "proxy-next-upstream-tries", "nginx.ingress.kubernetes.io/proxy-next-upstream-tries: \"{}\""),
        (Setting::KeepaliveIdle, "upstream-keepalive-timeout", "upstream-keepalive-timeout: \"{}\"  # in the ConfigMap"),
        (Setting::HeaderLimit, "proxy-buffer-size", "nginx.ingress.kubernetes.io/proxy-buffer-size: {}"),
    ]),
    ("haproxy", &[
        (Setting::CheckInterval, "inter", "default-server check inter {}s fall 3 rise 2"),
        (Setting::CheckTimeout, "timeout check", "timeout check {}s"),
        (Setting::CheckFall, "fall", "default-server check fall {}"),
        (Setting::CheckRise, "rise", "default-server check rise {}"),
        (Setting::CheckPath, "option httpchk", "option httpchk GET {}"),
        (Setting::SlowStart, "slowstart", "default-server slowstart {}s"),
        (Setting::ConnectTimeout, "timeout connect", "timeout connect {}s"),
        (Setting::SendTimeout, "timeout server", "timeout server {}s"),
        (Setting::ReadTimeout, "timeout server", "timeout server {}s"),
        (Setting::Retries, "retries", "retries {}\n    retry-on conn-failure empty-response response-timeout 502 503 504"),
        (Setting::KeepaliveIdle, "pool-purge-delay", "default-server pool-purge-delay {}s"),
        (Setting::HeaderLimit, "tune.bufsize", "tune.bufsize {}  # in global"),
    ]),
    ("envoy", &[
        (Setting::CheckInterval, "health_checks.interval", "health_checks: [{ interval: {}s }]"),
        (Setting::CheckTimeout, "health_checks.timeout", "health_checks: [{ timeout: {}s }]"),
        (Setting::CheckFall, "health_checks.unhealthy_threshold", "health_checks: [{ unhealthy_threshold: {} }]"),
        (Setting::CheckRise, "health_checks.healthy_threshold", "health_checks: [{ healthy_threshold: {} }]"),
        (Setting::CheckPath, "health_checks.http_health_check.path", "health_checks: [{ http_health_check: { path: {} } }]"),
        (Setting::SlowStart, "slow_start_config.slow_start_window", "slow_start_config: { slow_start_window: {}s }"),
        (Setting::ConnectTimeout, "connect_timeout", "connect_timeout: {}s"),
        (Setting::ReadTimeout, "route timeout", "timeout: {}s  # of the route"),
        (Setting::Retries, "retry_policy.num_retries", "retry_policy: { retry_on: \"connect-failure,reset,5xx\", num_retries: {}, retry_back_off: { base_interval: 0.1s } }"),
        (Setting::KeepaliveIdle, "common_http_protocol_options.idle_timeout", "common_http_protocol_options: { idle_timeout: {}s }"),
        (Setting::HeaderLimit, "common_http_protocol_options.max_response_headers_kb", "max_response_headers_kb: {}"),
    ]),
    ("istio", &[
        (Setting::CheckInterval, "outlierDetection.interval", "outlierDetection: { interval: {}s }"),
        (Setting::CheckFall, "outlierDetection.consecutive5xxErrors", "outlierDetection: { consecutive5xxErrors: {} }"),
        (Setting::SlowStart, "loadBalancer.warmupDurationSecs", "loadBalancer: { warmupDurationSecs: {}s }"),
        (Setting::ConnectTimeout, "connectionPool.tcp.connectTimeout", "connectionPool: { tcp: { connectTimeout: {}s } }"),
        (Setting::ReadTimeout, "VirtualService timeout", "timeout: {}s"),
        (Setting::Retries, "retries.attempts", "retries: { attempts: {}, retryOn: \"connect-failure,reset,5xx\" }"),
        (Setting::KeepaliveIdle, "connectionPool.http.idleTimeout", "connectionPool: { http: { idleTimeout: {}s } }"),
    ]),
    ("apache", &[
        (Setting::CheckInterval, "hcinterval", "BalancerMember ADDRESS hcmethod=GET hcinterval={}"),
        (Setting::CheckFall, "hcfails", "BalancerMember ADDRESS hcfails={}"),
        (Setting::CheckRise, "hcpasses", "BalancerMember ADDRESS hcpasses={}"),
        (Setting::CheckPath, "hcuri", "BalancerMember ADDRESS hcuri={}"),
        (Setting::ConnectTimeout, "connectiontimeout", "ProxyPass ... connectiontimeout={}"),
        (Setting::SendTimeout, "ProxyTimeout", "ProxyTimeout {}"),
        (Setting::ReadTimeout, "ProxyTimeout", "ProxyTimeout {}"),
        (Setting::Retries, "maxattempts", "ProxySet balancer://NAME maxattempts={} failonstatus=502,503,504"),
        (Setting::KeepaliveIdle, "ttl", "ProxyPass ... ttl={}"),
        (Setting::HeaderLimit, "responsefieldsize", "ProxyPass ... responsefieldsize={}"),
    ]),
    ("caddy", &[
        (Setting::CheckInterval, "health_interval", "health_interval {}s"),
        (Setting::CheckTimeout, "health_timeout", "health_timeout {}s"),
        (Setting::CheckFall, "health_fails", "health_fails {}"),
        (Setting::CheckRise, "health_passes", "health_passes {}"),
        (Setting::CheckPath, "health_uri", "health_uri {}"),
        (Setting::ConnectTimeout, "dial_timeout", "transport http { dial_timeout {}s }"),
        (Setting::SendTimeout, "write_timeout", "transport http { write_timeout {}s }"),
        (Setting::ReadTimeout, "response_header_timeout", "transport http { response_header_timeout {}s }"),
        (Setting::Retries, "lb_retries", "lb_retries {}\nlb_try_interval 250ms"),
        (Setting::KeepaliveIdle, "keepalive", "transport http { keepalive {}s }"),
        (Setting::HeaderLimit, "max_response_header", "transport http { max_response_header {} }"),
    ]),
    ("traefik", &[
        (Setting::CheckInterval, "healthCheck.interval", "healthCheck: { interval: {}s }"),
        (Setting::CheckTimeout, "healthCheck.timeout", "healthCheck: { timeout: {}s }"),
        (Setting::CheckPath, "healthCheck.path", "healthCheck: { path: {} }"),
        (Setting::ConnectTimeout, "forwardingTimeouts.dialTimeout", "serversTransports: { default: { forwardingTimeouts: { dialTimeout: {}s } } }"),
        (Setting::ReadTimeout, "forwardingTimeouts.responseHeaderTimeout", "serversTransports: { default: { forwardingTimeouts: { responseHeaderTimeout: {}s } } }"),
        (Setting::Retries, "retry.attempts", "middlewares: { again: { retry: { attempts: {}, initialInterval: 100ms } } }"),
        (Setting::KeepaliveIdle, "forwardingTimeouts.idleConnTimeout", "serversTransports: { default: { forwardingTimeouts: { idleConnTimeout: {}s } } }"),
    ]),
    ("varnish", &[
        (Setting::CheckInterval, ".probe .interval", ".probe = { .interval = {}s; }"),
        (Setting::CheckTimeout, ".probe .timeout", ".probe = { .timeout = {}s; }"),
        (Setting::CheckFall, ".probe .window", ".probe = { .window = 5; .threshold = {}; }"),
        (Setting::CheckPath, ".probe .url", ".probe = { .url = \"{}\"; }"),
        (Setting::ConnectTimeout, ".connect_timeout", ".connect_timeout = {}s;"),
        (Setting::SendTimeout, ".between_bytes_timeout", ".between_bytes_timeout = {}s;"),
        (Setting::ReadTimeout, ".first_byte_timeout", ".first_byte_timeout = {}s;"),
        (Setting::Retries, "max_retries", "varnishd -p max_retries={}  # with return(retry) in vcl_backend_response"),
        (Setting::KeepaliveIdle, "backend_idle_timeout", "varnishd -p backend_idle_timeout={}"),
        (Setting::HeaderLimit, "http_resp_size", "varnishd -p http_resp_size={} -p http_resp_hdr_len={}"),
    ]),
    ("aws_alb", &[
        (Setting::CheckInterval, "HealthCheckIntervalSeconds", "--health-check-interval-seconds {}"),
        (Setting::CheckTimeout, "HealthCheckTimeoutSeconds", "--health-check-timeout-seconds {}"),
        (Setting::CheckFall, "UnhealthyThresholdCount", "--unhealthy-threshold-count {}"),
        (Setting::CheckRise, "HealthyThresholdCount", "--healthy-threshold-count {}"),
        (Setting::CheckPath, "HealthCheckPath", "--health-check-path {}"),
        (Setting::SlowStart, "slow_start.duration_seconds", "Key=slow_start.duration_seconds,Value={}"),
        (Setting::ReadTimeout, "idle_timeout.timeout_seconds", "Key=idle_timeout.timeout_seconds,Value={}"),
        (Setting::KeepaliveIdle, "idle_timeout.timeout_seconds", "Key=idle_timeout.timeout_seconds,Value={}"),
    ]),
];

/// Kinds that write their settings as another does.
const SAME_AS: &[(&str, &str)] = &[("aws_clb", "aws_alb"), ("nginx_stream", "nginx")];

impl Setting {
    /// What a gateway of this kind calls it. None: it has no such setting, or its names are not known here.
    pub fn name(self, kind: &str) -> Option<&'static str> {
        self.entry(kind).map(|(name, _)| name)
    }

    /// How a gateway of this kind writes it with a value.
    pub fn snippet(self, kind: &str, value: &str) -> Option<String> {
        self.entry(kind).map(|(_, written)| written.replace("{}", value))
    }

    /// What it is, for a gateway of any kind.
    pub fn words(self) -> &'static str {
        match self {
            Self::ConnectTimeout => "connect timeout",
            Self::SendTimeout => "send timeout",
            Self::ReadTimeout => "read timeout",
            Self::Retries => "attempts",
            Self::CheckInterval => "health check interval",
            Self::CheckTimeout => "health check timeout",
            Self::CheckFall => "failed checks that take a member out",
            Self::CheckRise => "good checks that take it back",
            Self::CheckPath => "health check path",
            Self::SlowStart => "initial delay",
            Self::KeepaliveIdle => "idle connections kept",
            Self::HeaderLimit => "response header limit",
        }
    }

    /// What it is called, by its name or in words.
    pub fn called(self, kind: &str) -> &'static str {
        self.name(kind).unwrap_or(self.words())
    }

    /// A size as a gateway of this kind writes it.
    pub fn bytes(kind: &str, bytes: u64) -> String {
        match kind {
            "nginx" | "nginx_stream" | "ingress_nginx" | "varnish" => format!("{}k", bytes.div_ceil(1024)),
            "envoy" => bytes.div_ceil(1024).to_string(),
            "caddy" => format!("{}KiB", bytes.div_ceil(1024)),
            _ => bytes.to_string(),
        }
    }

    fn entry(self, kind: &str) -> Option<(&'static str, &'static str)> {
        let kind = SAME_AS.iter().find(|(other, _)| *other == kind).map_or(kind, |(_, as_kind)| as_kind);
        let (_, settings) = NAMES.iter().find(|(known, _)| *known == kind)?;
        settings.iter().find(|(setting, ..)| *setting == self).map(|(_, name, written)| (*name, *written))
    }
}

/// Whether settings of this kind are known by name.
pub fn is_known_kind(kind: &str) -> bool {
    NAMES.iter().any(|(known, _)| *known == kind) || SAME_AS.iter().any(|(known, _)| *known == kind)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_gateway_writes_its_time_limits_by_name() {
        for (kind, settings) in NAMES {
            assert!(Setting::ReadTimeout.name(kind).is_some(), "{kind}");
            for (setting, name, written) in *settings {
                assert!(written.contains("{}"), "{kind} {name}");
                let snippet = setting.snippet(kind, "7").unwrap();
                assert!(snippet.contains('7') && !snippet.contains("{}"), "{snippet}");
            }
        }
        assert_eq!(Setting::ReadTimeout.snippet("nginx_stream", "30").unwrap(), "proxy_read_timeout 30s;");
        assert_eq!(
            Setting::HeaderLimit.snippet("nginx", &Setting::bytes("nginx", 16_384)).unwrap(),
            "proxy_buffer_size 16k; proxy_buffers 8 16k;"
        );
        assert_eq!(Setting::ReadTimeout.called("something else"), "read timeout");
    }
}
