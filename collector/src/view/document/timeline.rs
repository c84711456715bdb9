//! A target over a stretch of time.

use serde::{Deserialize, Serialize};

document! {
    /// `timeline`. All lists of columns are equally long.
    TimelineDoc {
        /// What was asked for.
        target: String,
        /// Where nobody is called so: whose names are like it.
        #[serde(skip_serializing_if = "Vec::is_empty")]
        near: Vec<String>,
        /// When the first column begins.
        from: String,
        /// When the last column ends, or is cut off.
        to: String,
        /// How long a column is, milliseconds.
        step_ms: i64,
        /// The oldest moment that can be told of. Absent where none can.
        kept_since: Option<String>,
        /// Instances, then their hosts and gateways', then upstreams of gateways.
        tracks: Vec<TrackDoc>,
        /// What happened, oldest first.
        happenings: Vec<HappeningDoc>,
        /// The oldest of what happened, beyond the bound of 300.
        happenings_left_out: u64,
        /// Instances and upstreams beyond the bounds of 8 and 16.
        tracks_left_out: u64,
        /// Records that should be there and can't be read.
        unreadable: Vec<String>,
    }
}

document! {
    /// One subject of a timeline.
    TrackDoc {
        /// "instance", "host" or "upstream".
        kind: String,
        /// The service, the host, or the address.
        name: String,
        /// Its host; an upstream's gateway's.
        host: String,
        /// An upstream's gateway, else empty.
        gateway: String,
        /// The worst state of each column, empty where nothing was known. No list where it has no states.
        states: Vec<String>,
        /// Its readings; one of which there is nothing is left out.
        readings: Vec<ReadingDoc>,
    }
}

document! {
    /// One reading of a subject.
    ReadingDoc {
        /// What is read.
        name: String,
        /// In which unit.
        unit: String,
        /// "most": a column's value is the largest read in it; "sum": it is their sum.
        joined: String,
        /// By column; null where nothing was read, which is not zero.
        values: Vec<Option<f64>>,
    }
}

document! {
    /// Something that happened.
    HappeningDoc {
        /// When, the first time where it happened more than once in a column.
        at: String,
        /// "start", "exit", "oom_kill", "listen", "health", "role", "log", "link", "kernel", "clock", "agent", "boot", "deploy",
        /// "gateway", "config", "probe" or "incident".
        kind: String,
        /// Whose.
        host: String,
        /// The service, the gateway, or the upstream; empty where it is the host's.
        subject: String,
        /// What.
        says: String,
        /// How often in the same column.
        count: u64,
    }
}
