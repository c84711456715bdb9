//! The harness that the end-to-end tests, the lab and the benches share.
