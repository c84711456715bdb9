//! Envoy's access-log format: text with command operators (`%REQ(:METHOD)%`, `%RESPONSE_CODE%`, ...) or a JSON object whose
//! values are such texts. Operators are reduced to the few names that a record needs; all others are read over.

use super::super::json::{self, Object, Value};
use super::super::template::{Shape, Template};

/// Envoy's default, from the request on.
pub(super) const DEFAULT: &str = "\"%REQ(:METHOD)% %REQ(X-ENVOY-ORIGINAL-PATH?:PATH)% %PROTOCOL%\" %RESPONSE_CODE% %RESPONSE_FLAGS% \
    %BYTES_RECEIVED% %BYTES_SENT% %DURATION% %RESP(X-ENVOY-UPSTREAM-SERVICE-TIME)% \"%REQ(X-FORWARDED-FOR)%\" \
    \"%REQ(USER-AGENT)%\" \"%REQ(X-REQUEST-ID)%\" \"%REQ(:AUTHORITY)%\" \"%UPSTREAM_HOST%\"";
/// Istio 1.9 and later, from the request on.
pub(super) const ISTIO: &str = "\"%REQ(:METHOD)% %REQ(X-ENVOY-ORIGINAL-PATH?:PATH)% %PROTOCOL%\" %RESPONSE_CODE% %RESPONSE_FLAGS% \
    %RESPONSE_CODE_DETAILS% %CONNECTION_TERMINATION_DETAILS% \"%UPSTREAM_TRANSPORT_FAILURE_REASON%\" %BYTES_RECEIVED% \
    %BYTES_SENT% %DURATION% %RESP(X-ENVOY-UPSTREAM-SERVICE-TIME)% \"%REQ(X-FORWARDED-FOR)%\" \"%REQ(USER-AGENT)%\" \
    \"%REQ(X-REQUEST-ID)%\" \"%REQ(:AUTHORITY)%\" \"%UPSTREAM_HOST%\" %UPSTREAM_CLUSTER% %UPSTREAM_LOCAL_ADDRESS% \
    %DOWNSTREAM_LOCAL_ADDRESS% %DOWNSTREAM_REMOTE_ADDRESS% %REQUESTED_SERVER_NAME% %ROUTE_NAME%";
/// Istio before 1.9, from the request on.
pub(super) const OLD_ISTIO: &str = "\"%REQ(:METHOD)% %REQ(X-ENVOY-ORIGINAL-PATH?:PATH)% %PROTOCOL%\" %RESPONSE_CODE% \
    %RESPONSE_FLAGS% \"%DYNAMIC_METADATA(istio.mixer:status)%\" \"%UPSTREAM_TRANSPORT_FAILURE_REASON%\" %BYTES_RECEIVED% \
    %BYTES_SENT% %DURATION% %RESP(X-ENVOY-UPSTREAM-SERVICE-TIME)% \"%REQ(X-FORWARDED-FOR)%\" \"%REQ(USER-AGENT)%\" \
    \"%REQ(X-REQUEST-ID)%\" \"%REQ(:AUTHORITY)%\" \"%UPSTREAM_HOST%\" %UPSTREAM_CLUSTER% %UPSTREAM_LOCAL_ADDRESS% \
    %DOWNSTREAM_LOCAL_ADDRESS% %DOWNSTREAM_REMOTE_ADDRESS% %REQUESTED_SERVER_NAME% %ROUTE_NAME%";

/// A format, ready to read lines with.
#[derive(Debug)]
pub(super) enum Format {
    /// Text with operators in it.
    Text(Template),
    /// An object: the way to each value, joined by blanks, and the text that stands there.
    Json(Vec<(String, Template)>),
}

/// Translates a format string, or a JSON format written as JSON.
pub(super) fn parse(setting: &str) -> Format {
    let setting = setting.trim();
    match json::object(setting.as_bytes()) {
        Ok(object) => {
            let mut leaves = Vec::new();
            leaves_of(&object, "", &mut leaves);
            Format::Json(leaves.into_iter().map(|(way, value)| (way, template(&value))).collect())
        }
        Err(_) => Format::Text(template(setting.trim_end_matches("\\n"))),
    }
}

/// How a setting has the time written, where it says so: `%START_TIME(%Y/%m/%d %H:%M:%S)%`.
pub(super) fn time_pattern(setting: &str) -> Option<&str> {
    let (_, rest) = setting.split_once("%START_TIME(").or_else(|| setting.split_once("%START_TIME_LOCAL("))?;
    rest.split_once(")%").map(|(pattern, _)| pattern).filter(|pattern| !pattern.is_empty())
}

/// All texts of an object with the way to each.
pub(super) fn leaves_of(object: &Object, above: &str, leaves: &mut Vec<(String, String)>) {
    for (key, value) in &object.0 {
        let way = if above.is_empty() { key.to_string() } else { format!("{above} {key}") };
        match value {
            Value::Object(inner) => leaves_of(inner, &way, leaves),
            _ => leaves.extend(value.text().map(|text| (way, text.to_owned()))),
        }
    }
}

/// Translates a text with operators.
pub(super) fn template(setting: &str) -> Template {
    let mut template = Template::default();
    let mut rest = setting;
    while let Some((literal, after)) = rest.split_once('%') {
        template.push_literal(literal);
        if let Some(after) = after.strip_prefix('%') {
            template.push_literal("%");
            rest = after;
            continue;
        }
        let end = operator_end(after);
        let (name, shape) = operator(after.get(..end).unwrap_or(after));
        template.push_field(name, shape);
        rest = after.get(end + 1..).unwrap_or("");
    }
    template.push_literal(rest);
    template
}

/// Where the closing `%` stands: not inside the parentheses, where a time format has its own.
fn operator_end(text: &str) -> usize {
    let mut depth = 0_usize;
    for (at, letter) in text.char_indices() {
        match letter {
            '(' => depth += 1,
            ')' => depth = depth.saturating_sub(1),
            '%' if depth == 0 => return at,
            _ => {}
        }
    }
    text.len()
}

/// The name that a record knows an operator's value by, and what its text consists of.
fn operator(text: &str) -> (&'static str, Shape) {
    let (name, rest) = text.split_once('(').unwrap_or((text, ""));
    let argument = rest.rsplit_once(')').map_or(rest, |(argument, _)| argument).to_ascii_lowercase();
    let name = name.split(':').next().unwrap_or(name);
    match name {
        "START_TIME" | "START_TIME_LOCAL" => ("start", Shape::Own),
        "RESPONSE_CODE" => ("code", Shape::Number),
        "RESPONSE_FLAGS" | "RESPONSE_FLAGS_LONG" => ("flags", Shape::Word),
        "RESPONSE_CODE_DETAILS" if argument.is_empty() => ("details", Shape::Word),
        "RESPONSE_CODE_DETAILS" => ("details", Shape::Own),
        "CONNECTION_TERMINATION_DETAILS" => ("termination", Shape::Own),
        "UPSTREAM_TRANSPORT_FAILURE_REASON" => ("reason", Shape::Own),
        "UPSTREAM_HOST" => ("host", Shape::Word),
        "UPSTREAM_REMOTE_ADDRESS" => ("remote_host", Shape::Word),
        "UPSTREAM_HOSTS_ATTEMPTED" => ("hosts", Shape::Word),
        "UPSTREAM_CLUSTER" | "UPSTREAM_CLUSTER_RAW" => ("cluster", Shape::Word),
        "UPSTREAM_REQUEST_ATTEMPT_COUNT" => ("attempts", Shape::Number),
        "DURATION" => ("duration", Shape::Number),
        "RESPONSE_DURATION" => ("header_ms", Shape::Number),
        "BYTES_SENT" => ("sent", Shape::Number),
        "DOWNSTREAM_REMOTE_ADDRESS" | "DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT" => ("client", Shape::Word),
        "PROTOCOL" => ("protocol", Shape::Word),
        "BYTES_RECEIVED" | "GRPC_STATUS_NUMBER" | "REQUEST_DURATION" | "RESPONSE_TX_DURATION" | "CONNECTION_ID" => {
            ("-", Shape::Number)
        }
        _ if name.starts_with("UPSTREAM_") || name.starts_with("DOWNSTREAM_") || name.ends_with("_BYTES") => {
            ("-", Shape::Word)
        }
        "ROUTE_NAME" | "HOSTNAME" | "REQUESTED_SERVER_NAME" | "STREAM_ID" | "UNIQUE_ID" => ("-", Shape::Word),
        "TRACE_ID" => ("request_id", Shape::Word),
        "REQ" | "REQUEST_HEADER" => header(&argument),
        "RESP" if argument == "x-envoy-upstream-service-time" => ("service_ms", Shape::Number),
        _ => ("-", Shape::Text),
    }
}

fn header(argument: &str) -> (&'static str, Shape) {
    match argument.split('?').next_back().unwrap_or(argument) {
        ":method" => ("method", Shape::Word),
        ":path" | "x-envoy-original-path" => ("path", Shape::Text),
        ":authority" | "host" => ("authority", Shape::Text),
        "x-request-id" => ("request_id", Shape::Text),
        _ => ("-", Shape::Text),
    }
}

/// The name of a member in the JSON that people usually have Envoy write.
pub(super) fn usual(way: &str) -> Option<&'static str> {
    let plain: String =
        way.chars().filter(char::is_ascii_alphanumeric).map(|letter| letter.to_ascii_lowercase()).collect();
    Some(match plain.as_str() {
        "responsecode" | "status" | "statuscode" | "responsestatus" | "httpstatus" | "code" => "code",
        "responseflags" | "responseflag" | "flags" | "responseflagslong" => "flags",
        "responsecodedetails" | "responsedetails" | "details" => "details",
        "connectionterminationdetails" => "termination",
        "upstreamtransportfailurereason" | "transportfailurereason" => "reason",
        "upstreamhost" | "upstreamaddress" | "upstreamaddr" => "host",
        "upstreamremoteaddress" => "remote_host",
        "upstreamhostsattempted" => "hosts",
        "upstreamcluster" | "cluster" | "upstreamclusterraw" => "cluster",
        "upstreamrequestattemptcount" | "attemptcount" | "requestattemptcount" => "attempts",
        "starttime" | "timestamp" | "time" | "ts" => "start",
        "duration" | "durationms" | "totalduration" => "duration",
        "upstreamservicetime" | "respxenvoyupstreamservicetime" | "xenvoyupstreamservicetime" => "service_ms",
        "bytessent" => "sent",
        "method" | "requestmethod" | "httpmethod" => "method",
        "path" | "requestpath" | "xenvoyoriginalpath" | "uri" | "uripath" => "path",
        "authority" | "host" | "requestauthority" => "authority",
        "requestid" | "xrequestid" => "request_id",
        "downstreamremoteaddress" | "clientip" | "client" | "remoteaddr" => "client",
        "protocol" => "protocol",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn operators_may_have_arguments_lengths_and_percent_signs() {
        let template = template("%START_TIME(%Y-%m-%dT%H:%M:%S)% %REQ(X-REQUEST-ID):36% 100%% %RESPONSE_CODE%");
        assert_eq!(template.names().collect::<Vec<_>>(), ["start", "request_id", "code"]);
        let fields = template.read(b"2026-11-22T06:49:47 a-b 100% 502").unwrap();
        assert_eq!(fields.get("code"), Some(&b"502"[..]));
    }
}
