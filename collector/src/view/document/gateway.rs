//! Gateways: their settings, where their lines come from, their upstreams.

use serde::{Deserialize, Serialize};

document! {
    /// `gateways`.
    GatewaysDoc {
        /// The moment.
        at: String,
        /// Where a past moment was asked for: the oldest that can be told of.
        kept_since: Option<String>,
        /// By host and name.
        gateways: Vec<GatewayDoc>,
    }
}

document! {
    /// A gateway.
    GatewayDoc {
        /// Its host.
        host: String,
        /// Its name.
        name: String,
        /// Its kind.
        kind: String,
        /// Its configuration was understood. Absent where none was read.
        config_readable: Option<bool>,
        /// What of it was not understood.
        config_faults: Vec<String>,
        /// What to switch on so that its log keeps the reason.
        missing_log: String,
        /// Where its lines come from.
        sources: Vec<SourceDoc>,
        /// Log lines that could not be parsed, of all sources.
        unparsed: u64,
        /// One of them.
        unparsed_sample: String,
        /// Its upstreams.
        upstreams: Vec<UpstreamDoc>,
    }
}

document! {
    /// A source of a gateway's lines; all counts are since its agent began.
    SourceDoc {
        /// The path or pattern, or the address that is listened on.
        source: String,
        /// Lines read.
        lines: u64,
        /// Of these, lines that told of a failure.
        failures: u64,
        /// Of these, lines that could not be parsed.
        unparsed: u64,
        /// One of them.
        unparsed_sample: String,
        /// Lines longer than 64 KiB, of which the beginning was read.
        cut_lines: u64,
        /// Messages that came faster than they could be read.
        lost_lines: u64,
        /// Files that were gone or packed before they were read to their ends.
        lost_files: u64,
        /// Connections that were refused or cut.
        cut_senders: u64,
        /// Why it is not read as it should be, and what to do. Empty: it is.
        fault: String,
    }
}

document! {
    /// An upstream of a gateway.
    UpstreamDoc {
        /// The gateway.
        gateway: String,
        /// The gateway's host.
        gateway_host: String,
        /// The address.
        upstream: String,
        /// The service behind it, where known.
        service: Option<String>,
        /// Its host, where known.
        host: Option<String>,
        /// Attempts that it answered, since the collector first heard of it.
        answered: u64,
        /// Of these with status 500 and above.
        answered_5xx: u64,
        /// Attempts that failed.
        failed: u64,
        /// Attempts that failed in the last ten minutes.
        failed_10m: u64,
        /// The newest answer.
        last_answered: Option<String>,
        /// The newest failure.
        last_failed: Option<String>,
    }
}
