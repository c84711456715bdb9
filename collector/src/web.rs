//! The HTTP side of questions: `GET /v1/DOCUMENT?filter=value`, the same as a page for a browser at `GET /DOCUMENT?filter=value`,
//! `POST /v1/mark`, `GET /metrics`, `GET /healthz`. The same documents as over gRPC, on the same address. It keeps nothing
//! but the counters of `/metrics`. A mark must come as `application/json`, which a foreign web page can't send without
//! being asked first.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use axum::extract::{DefaultBodyLimit, Path, Query, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use serde::Deserialize;

use crate::doors::Doors;
use crate::engine::{Handle, Refusal};
use crate::render::page::Pages;
use crate::view::{Answer, BadQuestion, Document, Question, Tally, stamp};
use crate::wire;

/// Largest request body, bytes.
const BODY_MAX: usize = 16 << 10;

/// What a page may do in a browser: nothing but show itself and ask its own address.
const PAGE_POLICY: &str =
    "default-src 'none'; style-src 'unsafe-inline'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'";

/// The routes.
pub fn routes(engine: Handle, doors: Arc<Doors>) -> Router {
    let shown = Shown { pages: Arc::default(), engine: engine.clone(), doors: doors.clone() };
    let pages = Router::new().route("/", get(front_page)).route("/{document}", get(page)).with_state(shown);
    let counted = Counted { tally: Arc::new(Mutex::new(Tally::new(&engine.view()))), engine: engine.clone() };
    let metrics = Router::new().route("/metrics", get(metrics)).with_state(counted);
    Router::new()
        .route("/v1/{document}", get(document))
        .route("/v1/mark", post(mark))
        .route("/healthz", get(async || "ok\n"))
        .layer(DefaultBodyLimit::max(BODY_MAX))
        .with_state((engine, doors))
        .merge(metrics)
        .merge(pages)
}

/// What pages are made of.
#[derive(Clone)]
struct Shown {
    pages: Arc<Pages>,
    engine: Handle,
    doors: Arc<Doors>,
}

async fn front_page(shown: State<Shown>) -> Response {
    page(shown, Path("status".to_owned()), Query(BTreeMap::new())).await
}

async fn page(
    State(shown): State<Shown>,
    Path(name): Path<String>,
    Query(filters): Query<BTreeMap<String, String>>,
) -> Response {
    let Ok(document) = Document::parse(&name) else { return not_found().await };
    let answer = match answer(&shown.engine, &shown.doors, document, filters).await {
        Ok(answer) => answer,
        Err(bad) => return fault(StatusCode::BAD_REQUEST, &bad.to_string()),
    };
    let Some(page) = shown.pages.page(&name, &answer.json) else { return not_found().await };
    let headers = [
        (header::CONTENT_TYPE, "text/html; charset=utf-8"),
        (header::CONTENT_SECURITY_POLICY, PAGE_POLICY),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::CACHE_CONTROL, "no-store"),
    ];
    match page {
        Ok(page) => (headers, page).into_response(),
        Err(error) => fault(StatusCode::INTERNAL_SERVER_ERROR, &format!("the page {name}: {error}")),
    }
}

/// What `/metrics` is written from; the counters are the same for all that scrape.
#[derive(Clone)]
struct Counted {
    tally: Arc<Mutex<Tally>>,
    engine: Handle,
}

async fn metrics(State(counted): State<Counted>) -> Response {
    let view = counted.engine.view();
    let mut tally = counted.tally.lock().unwrap_or_else(PoisonError::into_inner);
    let page = tally.scrape(&view, counted.engine.waiting());
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], page).into_response()
}

/// What anything else gets.
pub async fn not_found() -> Response {
    fault(StatusCode::NOT_FOUND, "there is nothing here; try /v1/status")
}

async fn document(
    State((engine, doors)): State<(Handle, Arc<Doors>)>,
    Path(name): Path<String>,
    Query(filters): Query<BTreeMap<String, String>>,
) -> Response {
    let Ok(document) = Document::parse(&name) else { return not_found().await };
    match answer(&engine, &doors, document, filters).await {
        Ok(answer) => json(StatusCode::OK, answer.json),
        Err(bad) => fault(StatusCode::BAD_REQUEST, &bad.to_string()),
    }
}

async fn answer(
    engine: &Handle,
    doors: &Doors,
    document: Document,
    filters: BTreeMap<String, String>,
) -> Result<Answer, BadQuestion> {
    let question = Question::parse(document, filters)?;
    engine.answer(&question, |view| doors.answer(view, &question)).await
}

/// The body of `POST /v1/mark`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct MarkBody {
    kind: String,
    service: String,
    #[serde(default)]
    version: String,
    #[serde(default)]
    host: String,
}

async fn mark(State((engine, _)): State<(Handle, Arc<Doors>)>, Json(body): Json<MarkBody>) -> Response {
    let mark = match wire::mark(body.kind, body.service, body.version, body.host) {
        Ok(mark) => mark,
        Err(refused) => return fault(StatusCode::BAD_REQUEST, &refused.to_string()),
    };
    match engine.take(mark).await {
        Ok(taken) => json(StatusCode::OK, serde_json::json!({"at": stamp(taken.received_us)}).to_string()),
        Err(refusal @ Refusal::Full) => fault(StatusCode::INSUFFICIENT_STORAGE, &refusal.to_string()),
        Err(refusal) => fault(StatusCode::SERVICE_UNAVAILABLE, &refusal.to_string()),
    }
}

fn fault(status: StatusCode, why: &str) -> Response {
    json(status, serde_json::json!({"error": why}).to_string())
}

fn json(status: StatusCode, body: String) -> Response {
    (status, [(header::CONTENT_TYPE, "application/json")], body).into_response()
}
