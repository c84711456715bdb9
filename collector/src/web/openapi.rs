//! The description of the API (OpenAPI 3.1), made from the tables that answer: the documents with their filters, and the
//! types that they are written from.

use std::sync::LazyLock;

use serde_json::{Map, Value, json};

use crate::capsule::ID_MAX;
use crate::view::{Document, FaultDoc, Filter, MarkedDoc, MessageDoc, Schema, Shapes, WatchDoc};
use crate::wire::{HOST_MAX, NAME_MAX};

/// What holds of all answers.
const ABOUT: &str = "Questions to a why502 collector. Every moment is RFC 3339 in UTC with milliseconds, however a type calls \
    it. Documents may get further fields. The command line prints the same documents with --json: \
    `why502 incidents --json` what /v1/incidents answers, and so on; `why502 watch --json` prints one Watch a line.";
/// The media type of documents.
const JSON: &str = "application/json";

/// The media type of capsules.
pub const GZIP: &str = "application/gzip";

/// The description as text.
pub fn text() -> &'static str {
    static TEXT: LazyLock<String> = LazyLock::new(|| description().to_string());
    &TEXT
}

fn description() -> Value {
    let mut shapes = Shapes::new();
    let documents = Document::ALL.into_iter().map(|document| {
        let answer = content(JSON, document.schema(&mut shapes));
        let parameters: Vec<Value> = document.filters().iter().map(parameter).collect();
        let mut operation = operation(document.name(), document.says(), answer, &[400, 401, 403]);
        operation["parameters"] = parameters.into();
        (format!("/v1/{}", document.name()), json!({"get": operation}))
    });
    let mut paths: Map<String, Value> = documents.collect();
    paths.insert("/v1/incidents/{id}/capsule".to_owned(), json!({"get": capsule()}));
    paths.insert("/v1/mark".to_owned(), json!({"post": mark(&mut shapes)}));
    let text = || content("text/plain", json!({"type": "string"}));
    let metrics = operation("metrics", "Counters and gauges for Prometheus, text format 0.0.4.", text(), &[401, 403]);
    paths.insert("/metrics".to_owned(), json!({"get": metrics}));
    let mut health = operation("healthz", "The collector runs.", text(), &[]);
    health["security"] = json!([]);
    paths.insert("/healthz".to_owned(), json!({"get": health}));
    let own = operation("openapi", "This description.", content(JSON, json!({"type": "object"})), &[401, 403]);
    paths.insert("/openapi.json".to_owned(), json!({"get": own}));
    let told = webhook(&mut shapes);
    let fault = FaultDoc::schema(&mut shapes);
    let watch = WatchDoc::schema(&mut shapes);
    shapes.insert("Watch", watch);
    json!({
        "openapi": "3.1.0",
        "info": {"title": "why502", "version": env!("CARGO_PKG_VERSION"), "description": ABOUT},
        "paths": paths,
        "webhooks": {"incident": {"post": told}},
        // Plain text on the collector's own machine needs no token.
        "security": [{}, {"token": []}],
        "components": {
            "schemas": shapes,
            "responses": faults(&fault),
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
        },
    })
}

/// One place of the API asked with one method: what it answers, and with which statuses it may refuse.
fn operation(id: &str, says: &str, answer: Value, faults: &[u16]) -> Value {
    let mut responses = Map::from_iter([("200".to_owned(), json!({"description": says, "content": answer}))]);
    for status in faults.iter().chain(&[405]) {
        let status = status.to_string();
        responses.insert(status.clone(), json!({"$ref": format!("#/components/responses/{status}")}));
    }
    json!({"operationId": id, "summary": says, "responses": responses})
}

fn content(kind: &str, schema: Value) -> Value {
    json!({kind: {"schema": schema}})
}

fn parameter(filter: &Filter) -> Value {
    let Filter { name, says, needed, .. } = filter;
    json!({"name": name, "in": "query", "description": says, "required": needed, "schema": filter.schema()})
}

/// All refusals, by status.
fn faults(fault: &Value) -> Value {
    let all = [
        (400, "A question or a mark that is not understood."),
        (401, "Who asks is not known: a token or a certificate is missing, wrong, or good no longer."),
        (403, "Who asks may not."),
        (404, "No incident with that id is known, and no capsule of it is kept."),
        (405, "This can't be asked with this method."),
        (413, "The body is too large."),
        (415, "The body is not application/json."),
        (422, "The body is JSON, but no mark."),
        (503, "The collector is stopping, or the records that this needs can't be read any more."),
        (507, "The collector's disk is full: nothing is taken until there is space."),
    ];
    let told = all.map(|(status, says)| {
        (status.to_string(), json!({"description": says, "content": content(JSON, fault.clone())}))
    });
    Map::from_iter(told).into()
}

fn capsule() -> Value {
    let says =
        "An incident's raw records as one file, for `why502 replay`; the bytes that `why502 incident export` writes.";
    let mut operation = operation("capsule", says, json!({GZIP: {}}), &[401, 403, 404, 503]);
    let says = "The incident's id.";
    let id = json!({"type": "string", "pattern": "^[0-9A-Za-z]+$", "maxLength": ID_MAX});
    operation["parameters"] =
        json!([{"name": "id", "in": "path", "description": says, "required": true, "schema": id}]);
    operation
}

fn mark(shapes: &mut Shapes) -> Value {
    let says = "Tells that a deployment begins. Needs an administrator.";
    let answer = content(JSON, MarkedDoc::schema(shapes));
    let mut operation = operation("mark", says, answer, &[400, 401, 403, 413, 415, 422, 503, 507]);
    let body = json!({
        "type": "object",
        "properties": {
            "kind": {"const": "deploy"},
            "service": {"type": "string", "minLength": 1, "maxLength": NAME_MAX},
            "version": {"type": "string", "maxLength": NAME_MAX, "description": "Which version; may be empty."},
            "host": {"type": "string", "maxLength": HOST_MAX, "description": "On which host; empty: on all."},
        },
        "required": ["kind", "service"],
        "additionalProperties": false,
    });
    operation["requestBody"] = json!({"required": true, "content": content(JSON, body)});
    operation
}

/// What the collector posts to a webhook, and what it makes of the answer.
fn webhook(shapes: &mut Shapes) -> Value {
    let header = |name: &str, needed: bool, says: &str| {
        let schema = json!({"type": "string"});
        json!({"name": name, "in": "header", "required": needed, "description": says, "schema": schema})
    };
    json!({
        "operationId": "told",
        "summary": "Tells a webhook of an incident or a group of them, where its sink has no template.",
        "security": [],
        "parameters": [
            header("X-Why502-Delivery", true, "The delivery of the body: a message that comes once more has the same."),
            header(
                "X-Why502-Signature",
                false,
                "Where the sink has a key: t=SECONDS,v1=HEX, the HMAC-SHA256 of SECONDS, a full stop and the body.",
            ),
        ],
        "requestBody": {"required": true, "content": content(JSON, MessageDoc::schema(shapes))},
        "responses": {
            "2XX": {"description": "It is confirmed, and not sent again."},
            "400": {"description": "It is given up; so it is for 413, 415 and 422."},
            "default": {"description": "It is sent again, for a day at the most."},
        },
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_place_of_the_api_is_described_and_nothing_else() {
        let answered: BTreeSet<String> =
            super::super::places().into_iter().map(|(path, method, _)| format!("{method} {path}")).collect();
        let description = description();
        let paths = description["paths"].as_object().unwrap().iter();
        let methods = |(path, methods): (&String, &Value)| {
            methods.as_object().unwrap().keys().map(|method| format!("{method} {path}")).collect::<Vec<_>>()
        };
        assert_eq!(paths.flat_map(methods).collect::<BTreeSet<_>>(), answered);
    }

    #[test]
    fn every_reference_leads_somewhere() {
        let description = description();
        let text = description.to_string();
        let references: BTreeSet<&str> =
            text.split("\"$ref\":\"#").skip(1).filter_map(|rest| rest.split('"').next()).collect();
        assert!(references.len() > 30, "{references:?}");
        let lost: Vec<_> =
            references.iter().filter(|place| !description.pointer(place).is_some_and(Value::is_object)).collect();
        assert!(lost.is_empty(), "{lost:?}");
    }

    #[test]
    fn each_line_of_watch_has_the_kind_and_the_fields_that_are_described() {
        let description = description();
        let lines = [WatchDoc::Rate(Default::default()), WatchDoc::Incident(Default::default())];
        let branches = description["components"]["schemas"]["Watch"]["oneOf"].as_array().unwrap();
        assert_eq!(branches.len(), lines.len());
        for (line, branch) in lines.iter().zip(branches) {
            let line = serde_json::to_value(line).unwrap();
            let [shape, tag] = [0, 1].map(|part| &branch["allOf"][part]);
            assert_eq!(line["kind"], tag["properties"]["kind"]["const"]);
            let shape = description.pointer(shape["$ref"].as_str().unwrap().trim_start_matches('#')).unwrap();
            let described = shape["required"].as_array().unwrap().iter().chain([&tag["required"][0]]);
            let described: BTreeSet<&str> = described.filter_map(Value::as_str).collect();
            assert_eq!(line.as_object().unwrap().keys().map(String::as_str).collect::<BTreeSet<_>>(), described);
        }
    }
}
