//! What stands before every question: who asks, and may they? Whatever is not known to change nothing needs an
//! administrator, so that a new call is closed until somebody opens it here.

use axum::extract::Request;
use axum::http::{Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use tonic::Status;

use super::Role;
use super::origin::Origin;

/// Calls over gRPC that change nothing.
const READING: [&str; 3] = ["/why502.v1.Query/Ask", "/why502.v1.Query/Watch", "/why502.v1.Query/Export"];
/// Answered to anybody, for whoever watches that the collector runs.
const OPEN: &str = "/healthz";

/// Lets a request through, or answers it.
pub async fn gate(request: Request, next: Next) -> Response {
    match judge(&request) {
        Ok(()) => next.run(request).await,
        Err((status, why)) if is_grpc(&request) => match status {
            StatusCode::UNAUTHORIZED => Status::unauthenticated(why).into_http(),
            _ => Status::permission_denied(why).into_http(),
        },
        Err((status, why)) => {
            let body = serde_json::json!({"error": why}).to_string();
            (status, [(header::CONTENT_TYPE, "application/json")], body).into_response()
        }
    }
}

fn judge(request: &Request) -> Result<(), (StatusCode, String)> {
    let Some(needed) = needed(request) else { return Ok(()) };
    let Some(origin) = request.extensions().get::<Origin>() else {
        return Err((StatusCode::FORBIDDEN, "where this comes from is not known".to_owned()));
    };
    let role = origin.role(bearer(request)).map_err(|why| (StatusCode::UNAUTHORIZED, why.to_owned()))?;
    if role < needed {
        let why = format!("this needs the role {}, and who asks has {}", needed.id(), role.id());
        return Err((StatusCode::FORBIDDEN, why));
    }
    origin.stay.settle();
    Ok(())
}

fn needed(request: &Request) -> Option<Role> {
    let path = request.uri().path();
    let reads = matches!(*request.method(), Method::GET | Method::HEAD) || READING.contains(&path);
    match path {
        OPEN => None,
        _ if reads => Some(Role::Read),
        _ => Some(Role::Admin),
    }
}

fn bearer(request: &Request) -> Option<&str> {
    let value = request.headers().get(header::AUTHORIZATION)?.to_str().ok()?;
    let (scheme, token) = value.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then_some(token.trim())
}

fn is_grpc(request: &Request) -> bool {
    let kind = request.headers().get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
    kind.is_some_and(|kind| kind.starts_with("application/grpc"))
}
