//! Lines of logs.

use serde::{Deserialize, Serialize};

document! {
    /// `logs`.
    LogsDoc {
        /// What was asked for.
        target: String,
        /// Where nobody is called so: whose names are like it.
        #[serde(skip_serializing_if = "Vec::is_empty")]
        near: Vec<String>,
        /// Lines from then on.
        from: String,
        /// To then.
        to: String,
        /// Since when records are kept.
        kept_since: Option<String>,
        /// Newest first.
        lines: Vec<LogLineDoc>,
        /// Like lines of those above that agents counted and did not send.
        not_sent: u64,
        /// Lines that are told at most of one source in one hour.
        per_hour: u64,
        /// Lines that are told at most in all.
        in_all: u64,
        /// Lines beyond these bounds, the older ones.
        left_out: u64,
        /// Instances and gateways of the target beyond those that one answer tells of.
        sources_left_out: u64,
        /// Records that could not be read, and why.
        unreadable: Vec<String>,
    }
}

document! {
    /// A line of a log.
    LogLineDoc {
        /// When.
        at: String,
        /// On which host.
        host: String,
        /// "app", "gateway" or "kernel".
        source: String,
        /// The service or the gateway. Empty where the kernel speaks of neither.
        of: String,
        /// The file, where it is an application's.
        file: String,
        /// The upstream that it speaks of, where it is a gateway's.
        upstream: String,
        /// "error", "warn" or "info".
        level: String,
        /// What it tells of.
        kind: String,
        /// The line, masked.
        line: String,
        /// The gateway's own words for the reason, from its error log. Empty where it gave none, or they are the line.
        reason: String,
        /// Like lines that were not sent, this one not counted.
        repeats: u32,
    }
}
