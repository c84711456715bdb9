use std::collections::{BTreeMap, HashMap};

use super::message::labels;
use super::*;
use crate::book::Book;
use crate::model::{Cause, Evidence, GatewayRef, Incident, IncidentState, Silence, Verdict};

const SECOND: i64 = 1_000_000;

fn sink(more: &str) -> Sink {
    toml::from_str(&format!("name = \"chat\"\nkind = \"webhook\"\nurl = \"http://127.0.0.1:9/\"\n{more}")).unwrap()
}

fn alertmanager() -> Sink {
    toml::from_str("name = \"chat\"\nkind = \"alertmanager\"\nurls = [\"http://127.0.0.1:9\"]\n").unwrap()
}

fn otlp(more: &str) -> Result<Sink, toml::de::Error> {
    toml::from_str(&format!("name = \"chat\"\nkind = \"otlp\"\nurl = \"http://127.0.0.1:9\"\n{more}"))
}

fn incident(id: &str, cause: Cause) -> Incident {
    let says = "refused <!channel> \u{1b}[31m".to_owned();
    let evidence = vec![Evidence { at_us: 0, host: "lb-1".to_owned(), source: "gateway_log", says }];
    let (alternatives, missing, advice) = Default::default();
    Incident {
        id: id.to_owned(),
        state: IncidentState::Open,
        gateway: GatewayRef { host: "lb-1".to_owned(), name: "edge".to_owned(), kind: "nginx".to_owned() },
        upstream: Some(format!("10.0.0.2:{id}")),
        service: Some("api".to_owned()),
        host: Some("app-1".to_owned()),
        first_seen_us: 0,
        last_seen_us: 0,
        resolved_us: None,
        count: 5,
        retried: 0,
        statuses: BTreeMap::new(),
        signals: BTreeMap::new(),
        verdict: Verdict { cause, confidence: 0.9, alternatives, evidence, missing, advice },
        group: None,
        verdict_at_us: 0,
        changed_us: 0,
    }
}

fn grouped(id: &str, group: &str) -> Incident {
    Incident { group: Some(group.to_owned()), ..incident(id, Cause::HostDown) }
}

/// A world in which time passes and every message ends as it is told to.
struct World {
    sink: Sink,
    incidents: Vec<Incident>,
    book: Book,
    now_us: i64,
    again_us: HashMap<String, i64>,
}

impl World {
    fn new(sink: Sink, incidents: &[Incident]) -> Self {
        let (book, again_us) = (Book::default(), HashMap::new());
        Self { sink, incidents: incidents.to_vec(), book, now_us: 10 * SECOND, again_us }
    }

    fn view(&self) -> View {
        let incidents = self.incidents.iter().cloned().map(Arc::new).collect();
        View { at_us: self.now_us, incidents, book: Arc::new(self.book.clone()), ..View::default() }
    }

    fn plan(&self) -> Vec<Action> {
        plan(&self.sink, &self.view(), &self.again_us, BATCH)
    }

    /// What is told now, each with its outcome: "opened 1".
    fn tell(&mut self, outcome: AlertOutcome) -> Vec<String> {
        let mut told = Vec::new();
        for action in self.plan() {
            let (key, step, labels, outcome) = match action {
                Action::Tell(tell) => {
                    let outcome =
                        if tell.last && outcome == AlertOutcome::Failed { AlertOutcome::GivenUp } else { outcome };
                    (tell.key, tell.step, tell.labels, outcome)
                }
                Action::GiveUp { key, step, labels } => (key, step, labels, AlertOutcome::GivenUp),
            };
            self.again_us.insert(key.clone(), self.now_us);
            told.push(format!("{} {key}", crate::view::word(step)));
            let alert = Alert { sink: "chat".to_owned(), key, step, outcome, why: String::new(), labels };
            self.book.alert(&alert, self.now_us);
        }
        told
    }

    fn delivered(&mut self) -> Vec<String> {
        self.tell(AlertOutcome::Delivered)
    }

    fn pass(&mut self, seconds: i64) -> &mut Self {
        self.now_us += seconds * SECOND;
        self
    }

    fn resolve(&mut self) -> &mut Self {
        self.incidents.iter_mut().for_each(|one| one.state = IncidentState::Resolved);
        self
    }
}

#[test]
fn an_incident_is_told_when_it_opens_and_when_it_is_over_and_never_twice() {
    let mut world = World::new(sink(""), &[incident("1", Cause::OomKilled)]);
    world.now_us = 4 * SECOND;
    assert!(world.delivered().is_empty(), "it waits 5 s for the others of its group");
    assert_eq!(world.pass(1).delivered(), ["opened 1"]);
    assert!(world.pass(3600).delivered().is_empty());
    // What a new process knows is the book: a restart forgets only what is told again.
    world.again_us.clear();
    assert!(world.delivered().is_empty());
    assert_eq!(world.resolve().delivered(), ["resolved 1"]);
    assert!(world.pass(3600).delivered().is_empty());
    world.incidents.clear();
    assert!(world.delivered().is_empty());
}

#[test]
fn one_dead_host_is_one_message() {
    let twelve: Vec<Incident> = (0..12).map(|number| grouped(&number.to_string(), "0")).collect();
    let mut world = World::new(sink(""), &twelve);
    let Some(Action::Tell(tell)) = world.plan().into_iter().next() else { panic!("nothing is told") };
    let message = Message::new(&tell, "", world.now_us);
    assert_eq!((message.incidents.len(), message.upstreams.len(), message.count), (12, 12, 60));
    assert_eq!((message.labels["host"].as_str(), message.labels.get("upstream")), ("app-1", None));
    assert_eq!(world.delivered(), ["opened 0"]);
    world.incidents.truncate(1);
    assert!(world.pass(60).delivered().is_empty(), "some are open still");
    assert_eq!(world.resolve().delivered(), ["resolved 0"]);
    assert_eq!(World::new(sink("group = false"), &twelve).delivered().len(), 12);
}

#[test]
fn another_cause_is_told_and_not_each_doubt() {
    let mut world = World::new(sink(""), &[incident("1", Cause::Unknown)]);
    world.delivered();
    world.incidents[0].verdict.confidence = 0.4;
    world.incidents[0].count = 500;
    assert!(world.pass(60).delivered().is_empty());
    world.incidents[0].verdict.cause = Cause::OomKilled;
    assert_eq!(world.delivered(), ["changed 1"]);
    world.incidents[0].verdict.cause = Cause::ProcessKilled;
    assert!(world.pass(10).delivered().is_empty(), "verdicts settle in steps");
    assert_eq!(world.pass(20).delivered(), ["changed 1"]);
}

#[test]
fn alertmanager_is_told_again_under_the_labels_it_knows() {
    let mut world = World::new(alertmanager(), &[incident("1", Cause::Unknown)]);
    assert_eq!(world.delivered(), ["opened 1"]);
    assert!(world.pass(59).delivered().is_empty());
    assert_eq!(world.pass(1).delivered(), ["again 1"]);
    world.incidents[0].verdict.cause = Cause::OomKilled;
    let Some(Action::Tell(tell)) = world.pass(60).plan().into_iter().next() else { panic!("nothing is told") };
    assert_eq!((tell.step, tell.labels["cause"].as_str()), (AlertStep::Changed, "oom_killed"));
    assert_eq!(tell.before.unwrap()["cause"], "unknown");
    world.delivered();
    // A new process does not know when it last told it: at once, then.
    world.again_us.clear();
    assert_eq!(world.delivered(), ["again 1"]);
    assert_eq!(world.resolve().delivered(), ["resolved 1"]);
}

#[test]
fn what_fails_is_tried_again_ever_more_rarely_and_given_up_in_the_end() {
    let mut world = World::new(sink("give_up = \"1h\""), &[incident("1", Cause::OomKilled)]);
    let mut attempts = 0;
    for _ in 0..7200 {
        attempts += world.tell(AlertOutcome::Failed).len();
        world.pass(1);
    }
    let failing = world.book.letters("chat").next().unwrap().1.failing.clone().unwrap();
    assert!(failing.given_up && (15..=30).contains(&attempts), "{attempts} attempts, {failing:?}");
    assert!(world.resolve().delivered().is_empty(), "who never heard of it need not hear of its end");
}

#[test]
fn what_is_over_before_it_was_delivered_is_a_dead_letter() {
    let mut world = World::new(sink(""), &[incident("1", Cause::OomKilled)]);
    world.tell(AlertOutcome::Failed);
    assert_eq!(world.resolve().tell(AlertOutcome::Delivered), ["opened 1"]);
    let letter = world.book.letters("chat").next().unwrap().1.clone();
    assert!(letter.told.is_none() && letter.failing.unwrap().given_up);
    assert!(world.pass(3600).plan().is_empty());
}

#[test]
fn pauses_grow_within_their_bounds_and_differ_by_key() {
    let mut before = 0;
    for attempts in 1..40 {
        let longest = (2 * SECOND).saturating_mul(1 << (attempts - 1).min(20)).min(300 * SECOND);
        let pause = pause_us("a", attempts);
        assert!(
            pause <= longest && pause >= longest * 3 / 4 && pause >= before.min(225 * SECOND),
            "{attempts}: {pause}"
        );
        before = pause;
    }
    let pauses: std::collections::BTreeSet<i64> = (0..20).map(|key| pause_us(&key.to_string(), 20)).collect();
    assert!(pauses.len() > 10);
}

#[test]
fn a_sink_hears_of_what_it_asked_for() {
    let told = |more: &str, one: &Incident| !World::new(sink(more), std::slice::from_ref(one)).plan().is_empty();
    let one = incident("1", Cause::OomKilled);
    for fits in ["families = [\"instance_down\"]", "causes = [\"oom_killed\", \"host_down\"]", "services = [\"api\"]"] {
        assert!(told(fits, &one), "{fits}");
    }
    for not in ["families = [\"network\"]", "causes = [\"host_down\"]", "services = [\"shop\"]", "least_count = 6"] {
        assert!(!told(not, &one), "{not}");
    }
    assert!(told("least_confidence = 0.9", &one) && !told("least_confidence = 0.91", &one));
}

#[test]
fn a_dip_in_confidence_is_no_end_but_a_cause_for_others_is() {
    let mut world = World::new(sink("families = [\"instance_down\"]\nleast_confidence = 0.8"), &[]);
    world.incidents = vec![incident("1", Cause::OomKilled)];
    world.delivered();
    world.incidents[0].verdict.confidence = 0.5;
    assert!(world.pass(60).delivered().is_empty());
    world.incidents[0].verdict.cause = Cause::FirewallDrop;
    assert_eq!(world.delivered(), ["resolved 1"]);
}

#[test]
fn a_silence_holds_for_what_it_covers_as_long_as_it_lasts() {
    let mut world = World::new(sink(""), &[incident("1", Cause::OomKilled)]);
    let silence = Silence { service: Some("api".to_owned()), until_us: 60 * SECOND, ..Silence::default() };
    world.book.silence(&Silence { id: "other".to_owned(), host: Some("app-2".to_owned()), ..silence.clone() }, 0);
    assert_eq!(world.plan().len(), 1, "api on app-2 is somebody else");
    world.book.silence(&silence, 0);
    assert!(world.delivered().is_empty());
    assert!(world.pass(49).delivered().is_empty());
    assert_eq!(world.pass(1).delivered(), ["opened 1"]);
    world.book.silence(&Silence { until_us: 9999 * SECOND, ..silence }, 0);
    world.incidents[0].verdict.cause = Cause::ProcessKilled;
    assert!(world.pass(60).delivered().is_empty());
    assert_eq!(world.resolve().delivered(), ["resolved 1"], "who heard of it hears of its end");
}

#[test]
fn severity_tells_harm_from_what_was_expected() {
    let severity = |one: Incident| labels(&sink(""), &[&Arc::new(one)])["severity"].clone();
    assert_eq!(severity(incident("1", Cause::Unknown)), "critical");
    assert_eq!(severity(incident("1", Cause::Deploying)), "warning");
    assert_eq!(severity(Incident { retried: 5, ..incident("1", Cause::OomKilled) }), "warning");
}

#[test]
fn text_from_outside_is_cleaned_before_any_sink_sees_it() {
    let world = World::new(sink(""), &[incident("1", Cause::OomKilled)]);
    let Some(Action::Tell(tell)) = world.plan().into_iter().next() else { panic!("nothing is told") };
    let message = Message::new(&tell, "http://collector:5021", world.now_us);
    assert!(!message.value().to_string().contains("u001b"), "{}", message.value());
    assert_eq!(message.ask, "why502 --collector http://collector:5021 why 1");
    assert_eq!(message.delivery, "1.opened.0");
}

#[test]
fn a_plan_is_no_longer_than_it_may_be() {
    let many: Vec<Incident> = (0..100).map(|number| incident(&number.to_string(), Cause::Unknown)).collect();
    let world = World::new(sink(""), &many);
    assert_eq!(plan(&world.sink, &world.view(), &world.again_us, 7).len(), 7);
    assert!(plan(&world.sink, &world.view(), &world.again_us, 0).is_empty());
}

#[test]
fn a_receiver_of_log_records_gets_each_incident_and_no_template() {
    let twelve: Vec<Incident> = (0..12).map(|number| grouped(&number.to_string(), "0")).collect();
    assert_eq!(World::new(otlp("wait = \"0s\"").unwrap(), &twelve).delivered().len(), 12);
    assert_eq!(World::new(otlp("group = true").unwrap(), &twelve).delivered().len(), 1);
    for foreign in
        ["template = \"a\"", "secret_file = \"a\"", "content_type = \"a\"", "urls = [\"http://127.0.0.1:10\"]"]
    {
        assert!(otlp(foreign).is_err(), "{foreign}");
    }
}
