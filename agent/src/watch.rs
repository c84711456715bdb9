//! Events as they happen, each watcher on a descriptor that becomes readable: processes that end, lack of memory, the kernel log,
//! network links. A watcher only tells what its source says; who it concerns is joined by `observe`.

pub mod app_log;
pub mod exit;
pub mod kernel_log;
pub mod link;
pub mod oom;
pub mod role;
pub mod unit;
