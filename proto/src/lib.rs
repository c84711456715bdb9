//! The wire schema of why502: the module tree over the generated code, and nothing else.
//! `why502/v1/*.proto` is the schema; every field there says its unit and what absence means.

/// Version 1 of the schema.
#[allow(missing_docs, clippy::all, clippy::unwrap_used, clippy::expect_used, clippy::panic)]
#[rustfmt::skip]
pub mod v1 {
    include!("gen/why502.v1.rs");
}
