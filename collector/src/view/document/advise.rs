//! Advice on settings.

use serde::{Deserialize, Serialize};

document! {
    /// `advise`.
    AdviseDoc {
        /// The moment.
        at: String,
        /// What was asked for, empty for all.
        target: String,
        /// Where nobody is called so: whose names are like it.
        #[serde(skip_serializing_if = "Vec::is_empty")]
        near: Vec<String>,
        /// Setting by setting: gateways by host, name and pool, then services.
        settings: Vec<SettingDoc>,
    }
}

document! {
    /// A setting as it is and as it should be.
    SettingDoc {
        /// The gateway. Empty: the setting is the service's own, or nothing is known of any gateway.
        gateway: String,
        /// The gateway's or the service's host.
        host: String,
        /// The gateway's kind.
        kind: String,
        /// The pool.
        pool: String,
        /// The services behind the pool, or the one whose setting it is.
        service: String,
        /// Where the pool stands in the gateway's configuration, "file:line".
        source: String,
        /// The setting as this gateway calls it.
        setting: String,
        /// What it is.
        what: String,
        /// Its value now. Absent: not set, or not known.
        now: Option<String>,
        /// The value that it should have.
        recommended: String,
        /// Why, with what was measured.
        why: String,
        /// How it is written. Empty where nothing need change or where that is not known.
        snippet: String,
        /// Whether the value now will not do.
        change: bool,
    }
}
