//! The HTTP side of questions: `GET /v1/DOCUMENT?filter=value`, the same as a page for a browser at `GET /DOCUMENT?filter=value`,
//! `GET /v1/incidents/ID/capsule`, `POST /v1/mark`, `GET /metrics`, `GET /healthz`, and `GET /openapi.json`, which describes all but the pages. The same
//! documents as over gRPC, on the same address. It keeps nothing but the counters of `/metrics`. A mark must come as
//! `application/json`, which a foreign web page can't send without being asked first.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use axum::extract::rejection::{JsonRejection, PathRejection, QueryRejection};
use axum::extract::{DefaultBodyLimit, Path, Query, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodRouter, get, post};
use axum::{Json, Router};
use serde::Deserialize;

use crate::capsule::{self, Capsules};
use crate::doors::Doors;
use crate::engine::{Handle, Refusal};
use crate::render::page::Pages;
use crate::view::{Answer, BadQuestion, Document, FaultDoc, MarkedDoc, Question, Tally, stamp};
use crate::wire;

mod openapi;

/// Largest request body, bytes.
const BODY_MAX: usize = 16 << 10;

/// What a page may do in a browser: nothing but show itself and ask its own address.
const PAGE_POLICY: &str =
    "default-src 'none'; style-src 'unsafe-inline'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'";

/// What answers are made of.
#[derive(Clone)]
struct Desk {
    engine: Handle,
    doors: Arc<Doors>,
    capsules: Arc<Capsules>,
    pages: Arc<Pages>,
    /// The counters of `/metrics`: the same for all that scrape.
    tally: Arc<Mutex<Tally>>,
}

/// A place of the API, the method it is asked with, and what answers.
type Place = (String, &'static str, MethodRouter<Desk>);

/// The routes.
pub fn routes(engine: Handle, doors: Arc<Doors>, capsules: Arc<Capsules>) -> Router {
    let tally = Arc::new(Mutex::new(Tally::new(&engine.view())));
    let desk = Desk { engine, doors, capsules, pages: Arc::default(), tally };
    let mut router = Router::new()
        .route("/", get(async |desk: State<Desk>, filters: Filters| page(desk, filters, Document::Status).await));
    for document in Document::ALL {
        let shown = get(async move |desk: State<Desk>, filters: Filters| page(desk, filters, document).await);
        router = router.route(&format!("/{}", document.name()), shown);
    }
    for (path, _, answers) in places() {
        router = router.route(&path, answers);
    }
    router.method_not_allowed_fallback(not_so).layer(DefaultBodyLimit::max(BODY_MAX)).with_state(desk)
}

/// All that `openapi` describes.
fn places() -> Vec<Place> {
    let documents = Document::ALL.into_iter().map(|document| {
        let told = get(async move |desk: State<Desk>, filters: Filters| tell(desk, filters, document).await);
        (format!("/v1/{}", document.name()), "get", told)
    });
    let others = [
        ("/v1/incidents/{id}/capsule", "get", get(export)),
        ("/v1/mark", "post", post(mark)),
        ("/metrics", "get", get(metrics)),
        ("/healthz", "get", get(async || "ok\n")),
        ("/openapi.json", "get", get(async || json(StatusCode::OK, openapi::text().to_owned()))),
    ];
    documents.chain(others.map(|(path, method, answers)| (path.to_owned(), method, answers))).collect()
}

/// The filters of a question as they came.
type Filters = Result<Query<Vec<(String, String)>>, QueryRejection>;

async fn page(State(desk): State<Desk>, filters: Filters, document: Document) -> Response {
    let answer = match desk.answer(document, filters).await {
        Ok(answer) => answer,
        Err(bad) => return fault(StatusCode::BAD_REQUEST, bad.to_string()),
    };
    let name = document.name();
    let Some(page) = desk.pages.page(name, &answer.json) else { return not_found().await };
    let headers = [
        (header::CONTENT_TYPE, "text/html; charset=utf-8"),
        (header::CONTENT_SECURITY_POLICY, PAGE_POLICY),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::CACHE_CONTROL, "no-store"),
    ];
    match page {
        Ok(page) => (headers, page).into_response(),
        Err(error) => fault(StatusCode::INTERNAL_SERVER_ERROR, format!("the page {name}: {error}")),
    }
}

async fn metrics(State(desk): State<Desk>) -> Response {
    let view = desk.engine.view();
    let mut tally = desk.tally.lock().unwrap_or_else(PoisonError::into_inner);
    let page = tally.scrape(&view, desk.engine.waiting());
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], page).into_response()
}

/// What anything else gets.
pub async fn not_found() -> Response {
    fault(StatusCode::NOT_FOUND, "there is nothing here; try /v1/status".to_owned())
}

/// What a place answers to a method that it does not have.
async fn not_so() -> Response {
    fault(StatusCode::METHOD_NOT_ALLOWED, "this can't be asked so; see /openapi.json".to_owned())
}

async fn export(State(desk): State<Desk>, id: Result<Path<String>, PathRejection>) -> Response {
    let Ok(Path(id)) = id else { return not_found().await };
    match desk.capsules.get(&id).await {
        Ok(bytes) => {
            // An id that has a capsule is a plain word.
            let name = format!("attachment; filename=\"{id}.tar.gz\"");
            let headers = [(header::CONTENT_TYPE, openapi::GZIP), (header::CONTENT_DISPOSITION, &name)];
            (headers, bytes).into_response()
        }
        Err(unknown @ capsule::Fault::Unknown(_)) => fault(StatusCode::NOT_FOUND, unknown.to_string()),
        Err(capsule::Fault::Failed(why)) => fault(StatusCode::SERVICE_UNAVAILABLE, why),
    }
}

async fn tell(State(desk): State<Desk>, filters: Filters, document: Document) -> Response {
    match desk.answer(document, filters).await {
        Ok(answer) => json(StatusCode::OK, answer.json),
        Err(bad) => fault(StatusCode::BAD_REQUEST, bad.to_string()),
    }
}

impl Desk {
    async fn answer(&self, document: Document, filters: Filters) -> Result<Answer, BadQuestion> {
        let question = Question::parse(document, single(filters)?)?;
        self.engine.answer(&question, |view| self.doors.answer(view, &question)).await
    }
}

/// Filters by name; one that is given twice says two things.
fn single(filters: Filters) -> Result<BTreeMap<String, String>, BadQuestion> {
    let Query(given) = filters.map_err(|rejection| BadQuestion(rejection.body_text()))?;
    let mut filters = BTreeMap::new();
    for (name, value) in given {
        if filters.contains_key(&name) {
            return Err(BadQuestion(format!("the filter {name:?} is given twice")));
        }
        filters.insert(name, value);
    }
    Ok(filters)
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

async fn mark(State(desk): State<Desk>, body: Result<Json<MarkBody>, JsonRejection>) -> Response {
    let body = match body {
        Ok(Json(body)) => body,
        Err(rejection) => return fault(rejection.status(), format!("this is no mark: {}", rejection.body_text())),
    };
    let mark = match wire::mark(body.kind, body.service, body.version, body.host) {
        Ok(mark) => mark,
        Err(refused) => return fault(StatusCode::BAD_REQUEST, refused.to_string()),
    };
    match desk.engine.take(mark).await {
        Ok(taken) => document(StatusCode::OK, &MarkedDoc { at: stamp(taken.received_us) }),
        Err(refusal @ Refusal::Full) => fault(StatusCode::INSUFFICIENT_STORAGE, refusal.to_string()),
        Err(refusal) => fault(StatusCode::SERVICE_UNAVAILABLE, refusal.to_string()),
    }
}

fn fault(status: StatusCode, error: String) -> Response {
    document(status, &FaultDoc { error })
}

fn document(status: StatusCode, document: &impl serde::Serialize) -> Response {
    json(status, Answer::new(document, true).json)
}

fn json(status: StatusCode, body: String) -> Response {
    (status, [(header::CONTENT_TYPE, "application/json")], body).into_response()
}
