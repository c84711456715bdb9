//! Compares incidents with what must be said of them. A label is `{"upstream", "cause", "host", "evidence": [...], "advice":
//! [...], "missing": [...]}`: the first three must be equal (an empty host: not asked), of the lists each entry must stand
//! somewhere, whatever its case; `|` parts ways to say it. `"or": [...]` names causes that may be said instead.

use serde_json::Value;

/// What a label can be missed in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// The cause.
    Cause,
    /// The upstream or the host.
    Instance,
    /// What it rests on.
    Evidence,
    /// What to do.
    Fix,
    /// What could not be seen.
    Missing,
}

/// One difference between a label and what was said.
#[derive(Debug)]
pub struct Fault {
    /// Where.
    pub part: Part,
    /// In words.
    pub says: String,
}

/// Where incidents differ from their labels, in words.
pub fn faults(labels: &[Value], incidents: &[Value]) -> Vec<String> {
    compare(labels, incidents).into_iter().map(|fault| fault.says).collect()
}

/// Where incidents differ from their labels.
pub fn compare(labels: &[Value], incidents: &[Value]) -> Vec<Fault> {
    let mut faults = Vec::new();
    for label in labels {
        let of_it: Vec<&Value> = incidents.iter().filter(|one| one["upstream"] == label["upstream"]).collect();
        if of_it.is_empty() {
            let says = format!("no incident for {}", label["upstream"]);
            faults.push(Fault { part: Part::Instance, says });
        }
        faults.extend(of_it.into_iter().flat_map(|incident| differs(label, incident)));
    }
    for incident in incidents {
        if !labels.iter().any(|label| incident["upstream"] == label["upstream"]) {
            let says = format!("false incident: {}", brief(std::slice::from_ref(incident)));
            faults.push(Fault { part: Part::Instance, says });
        }
    }
    faults
}

/// Where one incident differs from its label.
fn differs(label: &Value, incident: &Value) -> Vec<Fault> {
    let upstream = &label["upstream"];
    if !allows(label, incident) {
        let (got, confidence) = (&incident["cause"], &incident["confidence"]);
        let says = format!("{upstream} is {got} ({confidence}), not {}", label["cause"]);
        return vec![Fault { part: Part::Cause, says }];
    }
    let mut faults = Vec::new();
    if label["host"] != "" && incident["host"] != label["host"] {
        let says = format!("{upstream} is on {}, not {}", incident["host"], label["host"]);
        faults.push(Fault { part: Part::Instance, says });
    }
    for (part, key) in [(Part::Evidence, "evidence"), (Part::Fix, "advice"), (Part::Missing, "missing")] {
        let text = incident[key].to_string().to_lowercase();
        let wanted = label[key].as_array().into_iter().flatten().filter_map(Value::as_str);
        let absent = wanted.filter(|ways| !ways.split('|').any(|way| text.contains(&way.to_lowercase())));
        faults.extend(absent.map(|ways| Fault { part, says: format!("{upstream}: no {key} says \"{ways}\"") }));
    }
    if incident["evidence"].as_array().is_none_or(Vec::is_empty) {
        faults.push(Fault { part: Part::Evidence, says: format!("{upstream}: no evidence") });
    }
    faults
}

/// The incident's cause is the label's, or one that may be said instead.
fn allows(label: &Value, incident: &Value) -> bool {
    let cause = &incident["cause"];
    *cause == label["cause"] || label["or"].as_array().is_some_and(|others| others.contains(cause))
}

/// A verdict given with more than four fifths that is not what its label says. An incident of an upstream without a label is
/// no matter of confidence.
pub fn confident_wrong(labels: &[Value], incidents: &[Value]) -> Option<String> {
    let wrong = |incident: &&Value| {
        let label = labels.iter().find(|label| label["upstream"] == incident["upstream"]);
        incident["confidence"].as_f64().is_some_and(|confidence| confidence > 0.8)
            && label.is_some_and(|label| !allows(label, incident))
    };
    let found = incidents.iter().find(wrong)?;
    Some(format!("{} is {}", found["upstream"], found["cause"]))
}

/// Incidents in a line each.
pub fn brief(incidents: &[Value]) -> String {
    let one = |incident: &Value| {
        let text = |key: &str| incident[key].as_str().unwrap_or("null").to_owned();
        let (state, upstream, host, cause) = (text("state"), text("upstream"), text("host"), text("cause"));
        format!("{state} {upstream} {host} {cause} ({})", incident["confidence"])
    };
    incidents.iter().map(one).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_may_be_said_instead_is_right_and_nothing_else() {
        let says = |cause: &str| {
            vec![json!({ "upstream": "a", "cause": cause, "host": null, "confidence": 0.9, "evidence": ["seen"] })]
        };
        let labels = [json!({ "upstream": "a", "cause": "process_killed", "host": "", "or": ["unknown"] })];
        for cause in ["process_killed", "unknown"] {
            assert_eq!(faults(&labels, &says(cause)), Vec::<String>::new());
            assert_eq!(confident_wrong(&labels, &says(cause)), None);
        }
        assert_eq!(faults(&labels, &says("oom_killed")).len(), 1);
        assert!(confident_wrong(&labels, &says("oom_killed")).is_some());
    }
}
