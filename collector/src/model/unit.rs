//! What systemd does with the units of services.

use serde::{Deserialize, Serialize};

/// systemd said something of the unit of a watched service.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct UnitChanged {
    /// The service.
    pub service: String,
    /// The unit.
    pub unit: String,
    /// What: "starting", "started", "start_failed", "stopping", "stopped", "process_exited", "succeeded", "failed", "restart_scheduled",
    /// "out_of_memory".
    pub what: String,
    /// How its process ended: "exited", "killed" or "dumped". Empty where none did.
    pub exit_code: String,
    /// The exit status, or the number of the signal.
    pub exit_status: Option<i32>,
    /// Why the unit failed. Empty where it did not.
    pub result: String,
    /// How often systemd has restarted the unit by itself.
    pub restarts: Option<u32>,
}

impl UnitChanged {
    /// In words.
    pub fn says(&self) -> String {
        let unit = &self.unit;
        let status = self.exit_status.map_or_else(String::new, |status| format!(", status {status}"));
        match self.what.as_str() {
            "starting" => format!("systemd starts {unit}"),
            "started" => format!("systemd started {unit}"),
            "start_failed" => format!("systemd could not start {unit}"),
            "stopping" => format!("systemd stops {unit}: it was asked to"),
            "stopped" => format!("systemd stopped {unit}"),
            "process_exited" => format!("systemd: the main process of {unit} ended: {}{status}", self.exit_code),
            "succeeded" => format!("systemd: {unit} ended with success"),
            "failed" => format!("systemd: {unit} failed with the result {}", self.result),
            "restart_scheduled" => {
                format!("systemd restarts {unit} by itself, for the time {}", self.restarts.unwrap_or_default())
            }
            "out_of_memory" => format!("systemd: a process of {unit} was killed for lack of memory"),
            other => format!("systemd: {unit}: {other}"),
        }
    }
}
