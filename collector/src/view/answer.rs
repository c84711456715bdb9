//! Questions in, documents out.

use serde::Serialize;

use super::alerts::{alerts_doc, silences_doc};
use super::document::*;
use super::fleet::{host_doc, instances, status_doc};
use super::gateways::{Addresses, gateway_docs};
use super::question::{BadQuestion, Question};
use super::{View, advise, environment, incident_doc, incidents, why};
use crate::model::CATALOGUE;

/// An answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// The document as JSON text on one line.
    pub json: String,
    /// False where nothing fits the question.
    pub found: bool,
}

impl Answer {
    /// An answer of one document.
    pub fn new(document: &impl Serialize, found: bool) -> Self {
        // The documents are plain structures with text keys: writing them can't fail.
        Self { json: serde_json::to_string(document).unwrap_or_default(), found }
    }
}

/// Answers a question from a view.
pub fn answer(view: &View, question: &Question) -> Result<Answer, BadQuestion> {
    answer_with(view, &DoorsDoc::default(), question)
}

/// Answers a question from a view, and from how the front doors are open.
pub fn answer_with(view: &View, doors: &DoorsDoc, question: &Question) -> Result<Answer, BadQuestion> {
    Ok(match question {
        Question::Status => Answer::new(&StatusDoc { doors: with_talkers(view, doors), ..status_doc(view) }, true),
        Question::Hosts(_) => {
            let hosts: Vec<HostDoc> = view.hosts.iter().map(|host| host_doc(host)).collect();
            let found = !hosts.is_empty();
            // The doors know of now only.
            let is_now = view.kept_since_us.is_none();
            let notices = if is_now { with_talkers(view, doors).notices } else { Vec::new() };
            Answer::new(&HostsDoc { at: stamp(view.at_us), kept_since: kept_since(view), hosts, notices }, found)
        }
        Question::Instances(_) => {
            let docs = view.hosts.iter().flat_map(|host| instances(host)).map(|one| one.doc());
            let mut instances: Vec<InstanceDoc> = docs.collect();
            instances.sort_by(|a, b| (&a.service, &a.host).cmp(&(&b.service, &b.host)));
            let found = !instances.is_empty();
            Answer::new(&InstancesDoc { at: stamp(view.at_us), kept_since: kept_since(view), instances }, found)
        }
        Question::Gateways(_) => {
            let addresses = Addresses::of(view);
            let gateways: Vec<GatewayDoc> =
                view.hosts.iter().flat_map(|host| gateway_docs(view, host, &addresses)).collect();
            let found = !gateways.is_empty();
            Answer::new(&GatewaysDoc { at: stamp(view.at_us), kept_since: kept_since(view), gateways }, found)
        }
        Question::Incidents(filter) => {
            let chosen = incidents::select(view, |incident| filter.passes(incident, view.at_us));
            let incidents: Vec<IncidentDoc> = chosen.into_iter().map(incident_doc).collect();
            let found = !incidents.is_empty();
            Answer::new(&IncidentsDoc { incidents, ..IncidentsDoc::default() }, found)
        }
        Question::Why { target, at, since_us } => {
            let document = why::document(view, target, at.as_deref(), *since_us)?;
            Answer::new(&document, !document.incidents.is_empty())
        }
        Question::Advise { target } => {
            let document = advise::document(view, target.as_deref());
            Answer::new(&document, !document.settings.is_empty())
        }
        Question::Environment { target } => {
            let document = environment::document(view, target);
            Answer::new(&document, !document.hosts.is_empty())
        }
        Question::Timeline { .. } | Question::Logs { .. } => {
            return Err(BadQuestion("this is answered from records only".to_owned()));
        }
        Question::Causes => Answer::new(&causes_doc(), true),
        Question::Alerts => {
            let doc = alerts_doc(view);
            Answer::new(&doc, !doc.sinks.is_empty())
        }
        Question::Silences => {
            let doc = silences_doc(view);
            Answer::new(&doc, !doc.silences.is_empty())
        }
    })
}

/// Most notices told.
const NOTICES_MAX: usize = 100;
/// How long it is told that a host says too much, microseconds.
const TALKER_US: i64 = 3_600_000_000;

/// What the doors have to tell, and who says so much that not all of it is kept at hand. Newest first.
fn with_talkers(view: &View, doors: &DoorsDoc) -> DoorsDoc {
    let mut doors = doors.clone();
    for host in &view.hosts {
        let Some((at_us, count)) = host.thinned.filter(|(at_us, _)| view.at_us - at_us < TALKER_US) else { continue };
        let says = "says more than is kept at hand of a host: its readings of a while ago are thinned".to_owned();
        doors.notices.push(NoticeDoc { at: stamp(at_us), host: host.name.clone(), says, count });
    }
    doors.notices.sort_by(|one, other| other.at.cmp(&one.at));
    doors.notices.truncate(NOTICES_MAX);
    doors
}

fn kept_since(view: &View) -> Option<String> {
    view.kept_since_us.map(stamp)
}

/// The catalogue as a document.
fn causes_doc() -> CausesDoc {
    let mut families: Vec<String> = CATALOGUE.iter().map(|entry| entry.family.id().to_owned()).collect();
    families.dedup();
    let causes = CATALOGUE.iter().map(|entry| CauseDoc {
        cause: entry.id.to_owned(),
        family: entry.family.id().to_owned(),
        proof: entry.proof.to_owned(),
        refuted_by: entry.refuted_by.to_owned(),
        fix: entry.fix.to_owned(),
    });
    CausesDoc { families, causes: causes.collect() }
}
