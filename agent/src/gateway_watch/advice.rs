//! What to switch on so that a gateway's logs keep the reasons of failures, told once where it is seen: which upstream was
//! tried and how that ended. `deploy/gateways/` has the whole settings.

use crate::config::Gateway;
use crate::gateway::{Kind, LogSetting};

/// What is known of a gateway's logs.
pub struct Logs<'a> {
    /// As agent.toml names them.
    pub gateway: &'a Gateway,
    /// The access log's format. None: the default one, or it is not known.
    pub format: Option<&'a str>,
    /// The gateway's configuration names the access log.
    pub configured: bool,
    /// The error logs that the configuration names.
    pub errors: Vec<&'a LogSetting>,
    /// An error answer was logged with nothing but its status.
    pub bare_failures: bool,
}

impl Logs<'_> {
    /// What is missing and how to switch it on. Empty: nothing, as far as is known.
    pub fn missing(&self) -> &'static str {
        match self.gateway.kind {
            Kind::Nginx | Kind::IngressNginx | Kind::NginxStream => self.nginx(),
            Kind::Haproxy => self.haproxy(),
            Kind::Envoy | Kind::Istio => self.envoy(),
            Kind::Apache => self.apache(),
            Kind::Caddy => self.caddy(),
            Kind::Traefik => self.traefik(),
            Kind::Varnish => self.varnish(),
            // Their formats are fixed, or they tell what they can.
            _ => "",
        }
    }

    fn nginx(&self) -> &'static str {
        if !self.errors_are_read() {
            return "name the gateway's error_log in agent.toml: only there nginx gives its reasons";
        }
        let has_upstream = match self.format {
            Some(format) => format.contains("upstream_addr"),
            // A file that the configuration names without a format has the default one.
            None if self.configured => self.gateway.kind == Kind::IngressNginx,
            None => !self.bare_failures,
        };
        if !has_upstream {
            return "add $upstream_addr, $upstream_status, $upstream_connect_time, $upstream_header_time and \
                    $upstream_response_time to the log_format of the access log";
        }
        if self.errors_are_kept(&["crit", "alert", "emerg"]) {
            ""
        } else {
            "set error_log to a file and its level to warn or error: reasons are logged there"
        }
    }

    fn haproxy(&self) -> &'static str {
        let tells = |format: &str| ["%ts", "[fc.timer", "HAPROXY_"].iter().any(|word| format.contains(word));
        match self.format {
            Some(format) if !tells(format) => {
                "add %b/%s, %Tc/%Tr and %tsc to the log-format: without the state at the end no line says how a request failed"
            }
            _ => "",
        }
    }

    fn envoy(&self) -> &'static str {
        let tells = |format: &str| {
            ["RESPONSE_CODE_DETAILS", "TRANSPORT_FAILURE_REASON"].iter().any(|word| format.contains(word))
        };
        let told = match self.format {
            Some(format) => tells(format),
            None => !self.configured || self.gateway.kind == Kind::Istio,
        };
        if told {
            ""
        } else {
            "add %RESPONSE_CODE_DETAILS%, %UPSTREAM_TRANSPORT_FAILURE_REASON%, %RESPONSE_FLAGS% and %UPSTREAM_HOST% to the \
             access log's format: without the first two it does not say why a connection failed"
        }
    }

    fn apache(&self) -> &'static str {
        if !self.errors_are_read() {
            return "name the gateway's error_log in agent.toml: only there Apache gives its reasons; %L in LogFormat and \
                    [%L] in ErrorLogFormat join the two";
        }
        if self.errors_are_kept(&["crit", "alert", "emerg"]) {
            ""
        } else {
            "set LogLevel to warn or error: reasons are logged there"
        }
    }

    fn caddy(&self) -> &'static str {
        match self.gateway.error_log {
            None if self.bare_failures => {
                "name the file of Caddy's own log as the gateway's error_log in agent.toml: reasons stand there, in records of \
                 the logger http.log.error"
            }
            _ => "",
        }
    }

    fn traefik(&self) -> &'static str {
        const DEBUG: &str = "set log.level to DEBUG in Traefik's static configuration and name that log as the gateway's \
                             error_log in agent.toml: only there Traefik tells why an upstream failed";
        let debug = |setting: &&LogSetting| matches!(setting.level.as_deref(), Some("debug" | "trace"));
        let known = !self.errors.is_empty();
        let quiet = known && !self.errors.iter().any(debug);
        if quiet || self.gateway.error_log.is_none() && (known || self.bare_failures) { DEBUG } else { "" }
    }

    fn varnish(&self) -> &'static str {
        match self.gateway.error_log {
            None if self.bare_failures => {
                "log fetches with their errors (varnishncsa -b with %{VSL:FetchError}x and %{VSL:BackendOpen}x) and name that \
                 file as the gateway's access_log in agent.toml: lines of clients tell no reason"
            }
            _ => "",
        }
    }

    /// Whether the error log is named, or may come by the socket that takes all that the gateway sends.
    fn errors_are_read(&self) -> bool {
        self.gateway.error_log.is_some() || self.gateway.listen.is_some()
    }

    /// Whether an error log that the configuration names is on and not set to one of these levels. True where it names none.
    fn errors_are_kept(&self, quiet: &[&str]) -> bool {
        let keeps = |setting: &&LogSetting| {
            setting.target.is_some() && !setting.level.as_deref().is_some_and(|level| quiet.contains(&level))
        };
        self.errors.is_empty() || self.errors.iter().any(keeps)
    }
}
