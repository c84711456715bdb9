//! The API as `/openapi.json` describes it, held against the collector that serves it.

use std::process::Command;

use serde_json::Value;

use super::feeds::{ask, get, program, repository};
use super::hook::Hook;
use super::parts::{Parts, UPSTREAM, until};

/// A collector that has an incident to tell of.
fn with_an_incident() -> Parts {
    let parts = Parts::start("");
    parts.refused(3);
    parts.incident(3);
    parts
}

#[test]
fn every_place_that_is_described_answers_and_refuses_in_one_line() {
    let parts = with_an_incident();
    let incident = parts.incident(3);
    let description: Value = serde_json::from_str(&get(parts.api(), "/openapi.json")).unwrap();
    let paths = description["paths"].as_object().unwrap();
    for (path, methods) in paths.iter().filter(|(_, methods)| methods["get"].is_object()) {
        let parameters = methods["get"]["parameters"].as_array().cloned().unwrap_or_default();
        let needs = |name: &str| parameters.iter().any(|one| one["name"] == name && one["required"] == true);
        let target = if needs("target") { format!("?target={UPSTREAM}") } else { String::new() };
        let path = path.replace("{id}", incident["id"].as_str().unwrap());
        let (status, body) = ask(parts.api(), &format!("GET {path}{target} HTTP/1.0\r\n"), "");
        assert_eq!(status, 200, "{path}: {body}");
    }
    let json = "Content-Type: application/json\r\nContent-Length: 2\r\n";
    for (status, request) in [
        (400, "GET /v1/why HTTP/1.0\r\n".to_owned()),
        (400, "GET /v1/status?colour=red HTTP/1.0\r\n".to_owned()),
        (400, "GET /v1/incidents?state=open&state=resolved HTTP/1.0\r\n".to_owned()),
        (400, "GET /v1/incidents?since= HTTP/1.0\r\n".to_owned()),
        (400, "GET /v1/hosts?at=%ff%0a HTTP/1.0\r\n".to_owned()),
        (404, "GET /v1/%ff HTTP/1.0\r\n".to_owned()),
        (404, "GET /v1/incidents/01NONE/capsule HTTP/1.0\r\n".to_owned()),
        (405, "DELETE /v1/status HTTP/1.0\r\n".to_owned()),
        (415, "POST /v1/mark HTTP/1.0\r\nContent-Length: 2\r\n".to_owned()),
        (422, format!("POST /v1/mark HTTP/1.0\r\n{json}")),
    ] {
        let body = if request.starts_with("POST") { "{}" } else { "" };
        let answer = ask(parts.api(), &request, body);
        let told: Value = serde_json::from_str(&answer.1).unwrap_or_default();
        let told = told["error"].as_str().unwrap_or_default();
        assert!(answer.0 == status && !told.is_empty() && !told.contains('\n'), "{request}: {answer:?}");
    }
}

#[test]
fn schemathesis_finds_nothing_that_the_description_does_not_say() {
    let Some(schemathesis) = program("schemathesis") else { return };
    let parts = with_an_incident();
    let config = repository("tests/schemathesis.toml");
    let description = format!("http://{}/openapi.json", parts.api());
    // It leaves files where it runs.
    let dir = tempfile::tempdir().unwrap();
    let mut tried = Command::new(schemathesis);
    let tried = tried.arg("--config-file").arg(config).args(["run", &description]).current_dir(dir.path()).output();
    let tried = tried.unwrap();
    let out = String::from_utf8_lossy(&tried.stdout);
    assert!(tried.status.success(), "{out}{}", String::from_utf8_lossy(&tried.stderr));
    assert!(out.contains("Operations:       17 selected / 17 total"), "not all was tried: {out}");
}

/// What of `value` is otherwise than `shape` describes, nothing left out and nothing more: where, and how.
fn misfits(description: &Value, shape: &Value, value: &Value, at: &str) -> Vec<String> {
    if let Some(place) = shape["$ref"].as_str() {
        return misfits(description, description.pointer(place.trim_start_matches('#')).unwrap(), value, at);
    }
    if let Some(any) = shape["anyOf"].as_array() {
        let mut tried = any.iter().map(|shape| misfits(description, shape, value, at));
        return if tried.any(|faults| faults.is_empty()) { vec![] } else { vec![format!("{at}: fits none")] };
    }
    let inner = |place: String, shape: &Value, value: &Value| misfits(description, shape, value, &place);
    match (shape["type"].as_str().unwrap(), value) {
        ("string", Value::String(_)) | ("boolean", Value::Bool(_)) | ("null", Value::Null) => vec![],
        ("number", Value::Number(_)) => vec![],
        ("integer", Value::Number(number)) if number.is_u64() || number.is_i64() => vec![],
        ("array", Value::Array(entries)) => {
            let entries = entries.iter().enumerate();
            entries.flat_map(|(place, entry)| inner(format!("{at}/{place}"), &shape["items"], entry)).collect()
        }
        ("object", Value::Object(fields)) => {
            let required = shape["required"].as_array().into_iter().flatten().filter_map(Value::as_str);
            let lacking = required.filter(|name| !fields.contains_key(*name)).map(|name| format!("{at}/{name}: lacks"));
            let own = fields.iter().flat_map(|(name, field)| {
                let place = format!("{at}/{name}");
                match [&shape["properties"][name], &shape["additionalProperties"]]
                    .into_iter()
                    .find(|one| !one.is_null())
                {
                    Some(shape) => inner(place, shape, field),
                    None => vec![format!("{place}: is not described")],
                }
            });
            lacking.chain(own).collect()
        }
        (kind, other) => vec![format!("{at}: {other} is no {kind}")],
    }
}

#[test]
fn a_webhook_is_sent_what_is_described() {
    let hook = Hook::start(200);
    let parts = Parts::start_with_alerts(&format!(
        "[[alerts.sink]]\nname = \"chat\"\nkind = \"webhook\"\nurl = \"{}\"\nwait = \"0s\"\n",
        hook.url()
    ));
    let description: Value = serde_json::from_str(&get(parts.api(), "/openapi.json")).unwrap();
    let told = &description["webhooks"]["incident"]["post"];
    let shape = &told["requestBody"]["content"]["application/json"]["schema"];
    assert!(parts.ask(&["alerts", "test", "chat"]).contains("confirmed"));
    parts.refused(3);
    until("it is told of an incident", || hook.requests().get(1).cloned());
    for (request, step) in hook.requests().iter().zip(["test", "opened"]) {
        assert_eq!(request.body()["step"], step);
        assert_eq!(misfits(&description, shape, request.body(), ""), [""; 0]);
        assert_eq!(request.header("x-why502-delivery"), request.body()["delivery"]);
    }
    let mut other = hook.bodies()[1].clone();
    other["count"] = "three".into();
    other["incidents"][0]["colour"] = "red".into();
    other.as_object_mut().unwrap().remove("key");
    let faults = misfits(&description, shape, &other, "").join("; ");
    for fault in ["/key: lacks", "/count: \"three\" is no integer", "/incidents/0/colour: is not described"] {
        assert!(faults.contains(fault), "{fault} was not found: {faults}");
    }
}
