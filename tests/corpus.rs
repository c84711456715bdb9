//! Recorded incidents.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // a test says so by panicking
