//! Documents as a browser shows them: whole pages without any script, from the templates beside this file. What came from
//! outside is escaped twice over: [`clean`](crate::view::clean) for what hides or turns text about, then for HTML.

use minijinja::{
    AutoEscape, Environment, Error, ErrorKind, Output, State, Template, UndefinedBehavior, Value, context,
    escape_formatter,
};
use serde::Serialize;

use super::incident::{Fold, fold};
use crate::view::{IncidentDoc, clean};

/// Seconds after which a page that shows what is so now is loaded anew.
const FRESH_S: u32 = 5;

macro_rules! templates {
    ($($name:literal),*) => { [$(($name, include_str!(concat!("page/", $name)))),*] };
}

const TEMPLATES: [(&str, &str); 11] = templates!(
    "frame.html",
    "parts.html",
    "status.html",
    "incidents.html",
    "why.html",
    "logs.html",
    "hosts.html",
    "instances.html",
    "gateways.html",
    "advise.html",
    "causes.html"
);

/// A link at the top of each page.
#[derive(Serialize)]
struct Link {
    name: &'static str,
    href: &'static str,
}

const LINKS: [Link; 7] = [
    Link { name: "status", href: "/" },
    Link { name: "incidents", href: "/incidents?since=24h" },
    Link { name: "instances", href: "/instances" },
    Link { name: "hosts", href: "/hosts" },
    Link { name: "gateways", href: "/gateways" },
    Link { name: "advise", href: "/advise" },
    Link { name: "causes", href: "/causes" },
];

/// Makes pages of documents.
pub struct Pages(Environment<'static>);

impl Default for Pages {
    /// Pages from the templates that are compiled in. One that can't be parsed has no page; tests rule that out.
    fn default() -> Self {
        let mut environment = Environment::new();
        environment.set_undefined_behavior(UndefinedBehavior::SemiStrict);
        environment.set_auto_escape_callback(|_| AutoEscape::Html);
        environment.set_formatter(escape_cleaned);
        environment.set_keep_trailing_newline(true);
        environment.add_filter("short", |stamp: String, now: String| match stamp.as_str() {
            "" => "-".to_owned(),
            stamp => super::short_time(stamp, &now),
        });
        environment.add_filter("percent", |ratio: Option<f64>| super::percent(ratio));
        environment.add_filter("size", |bytes: Option<u64>| super::size(bytes));
        for (name, source) in TEMPLATES {
            let parsed = environment.add_template(name, source);
            debug_assert!(parsed.is_ok(), "{name}: {parsed:?}");
        }
        Self(environment)
    }
}

impl Pages {
    /// The page of a document of that name, which is JSON. None: there is no page for it.
    pub fn page(&self, name: &str, json: &str) -> Option<Result<String, Error>> {
        let template = self.0.get_template(&format!("{name}.html")).ok()?;
        Some(render(&template, name, json))
    }
}

fn render(template: &Template<'_, '_>, name: &str, json: &str) -> Result<String, Error> {
    let unreadable = |error| Error::new(ErrorKind::BadSerialization, "not a document").with_source(error);
    let doc: serde_json::Value = serde_json::from_str(json).map_err(unreadable)?;
    // `status` has its incidents below "open"; other documents without any have none to fold.
    let incidents = doc.get("incidents").filter(|list| list.is_array()).or_else(|| doc.get("open"));
    let incidents: Vec<IncidentDoc> = match incidents {
        Some(list) => serde_json::from_value(list.clone()).map_err(unreadable)?,
        None => Vec::new(),
    };
    let folds: Vec<FoldRow<'_>> = fold(&incidents).into_iter().map(FoldRow::of).collect();
    let now = incidents.iter().map(|one| one.changed.as_str()).max().unwrap_or_default();
    // The catalogue does not change, and whoever reads what happened is not to be interrupted.
    let fresh = matches!(name, "status" | "incidents" | "hosts" | "instances" | "gateways").then_some(FRESH_S);
    template.render(context! { name, doc, folds, now, fresh, pages => LINKS })
}

/// A fold with what its table row says.
#[derive(Serialize)]
struct FoldRow<'a> {
    lead: &'a IncidentDoc,
    also: Vec<&'a IncidentDoc>,
    open: bool,
    first_seen: &'a str,
    count: u64,
    upstreams: usize,
    gateways: usize,
}

impl<'a> FoldRow<'a> {
    fn of(fold: Fold<'a>) -> Self {
        let (open, first_seen, count) = (fold.open(), fold.first_seen(), fold.count());
        let (upstreams, gateways) = (fold.upstreams(), fold.gateways());
        Self { lead: fold.lead, also: fold.also, open, first_seen, count, upstreams, gateways }
    }
}

/// Writes a value; text first loses what hides or turns text about.
fn escape_cleaned(out: &mut Output<'_>, state: &State<'_, '_>, value: &Value) -> Result<(), Error> {
    match value.as_str() {
        Some(text) if !value.is_safe() => escape_formatter(out, state, &Value::from(clean(text).into_owned())),
        _ => escape_formatter(out, state, value),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::view::{
        AdviseDoc, CausesDoc, EvidenceDoc, GatewayDoc, GatewaysDoc, HostDoc, HostsDoc, IncidentsDoc, InstanceDoc,
        InstancesDoc, LogLineDoc, LogsDoc, NowDoc, SettingDoc, StatusDoc, UpstreamDoc,
    };

    const HOSTILE: &str = "<script>alert(1)</script>\"'&\u{202e}\u{1b}[31m";

    fn page(name: &str, document: &impl Serialize) -> String {
        Pages::default().page(name, &serde_json::to_string(document).unwrap()).unwrap().unwrap()
    }

    fn incident(id: &str, group: Option<&str>) -> IncidentDoc {
        IncidentDoc {
            id: id.to_owned(),
            state: "open".to_owned(),
            upstream: Some(format!("10.0.0.2:{id}")),
            cause: "oom_killed".to_owned(),
            confidence: 0.97,
            count: 37,
            group: group.map(str::to_owned),
            sentence: format!("instance {HOSTILE} was killed"),
            evidence: vec![EvidenceDoc { says: HOSTILE.to_owned(), ..EvidenceDoc::default() }],
            advice: vec![HOSTILE.to_owned()],
            ..IncidentDoc::default()
        }
    }

    fn all(incidents: Vec<IncidentDoc>) -> Vec<(&'static str, String)> {
        let hosts = vec![HostDoc { host: HOSTILE.to_owned(), load1: Some(0.5), ..HostDoc::default() }];
        let instances =
            vec![InstanceDoc { service: HOSTILE.to_owned(), queue: Some((1, 128)), ..InstanceDoc::default() }];
        let upstreams = vec![UpstreamDoc { upstream: HOSTILE.to_owned(), ..UpstreamDoc::default() }];
        let gateways =
            vec![GatewayDoc { name: HOSTILE.to_owned(), upstreams: upstreams.clone(), ..GatewayDoc::default() }];
        let settings = vec![SettingDoc { setting: HOSTILE.to_owned(), change: true, ..SettingDoc::default() }];
        let now = NowDoc { hosts: hosts.clone(), instances: instances.clone(), upstreams, ..NowDoc::default() };
        let why = IncidentsDoc {
            target: HOSTILE.to_owned(),
            now: Some(now),
            incidents: incidents.clone(),
            ..IncidentsDoc::default()
        };
        let lines = vec![LogLineDoc { line: HOSTILE.to_owned(), ..LogLineDoc::default() }];
        let logs = LogsDoc { target: HOSTILE.to_owned(), lines, ..LogsDoc::default() };
        vec![
            ("status", page("status", &StatusDoc { open: incidents.clone(), ..StatusDoc::default() })),
            ("incidents", page("incidents", &IncidentsDoc { incidents, ..IncidentsDoc::default() })),
            ("why", page("why", &why)),
            ("logs", page("logs", &logs)),
            ("hosts", page("hosts", &HostsDoc { hosts, ..HostsDoc::default() })),
            ("instances", page("instances", &InstancesDoc { instances, ..InstancesDoc::default() })),
            ("gateways", page("gateways", &GatewaysDoc { gateways, ..GatewaysDoc::default() })),
            ("advise", page("advise", &AdviseDoc { settings, ..AdviseDoc::default() })),
            ("causes", page("causes", &CausesDoc::default())),
        ]
    }

    #[test]
    fn nothing_from_outside_becomes_markup_or_hides() {
        for (name, page) in all(vec![incident("3000", None)]) {
            assert!(!page.contains("<script") && !page.contains(['\u{202e}', '\u{1b}']), "{name}: {page}");
            assert_eq!(page.contains("&lt;script&gt;"), !matches!(name, "status" | "incidents" | "causes"), "{name}");
        }
    }

    #[test]
    fn a_page_needs_nothing_from_elsewhere() {
        for (name, page) in all(Vec::new()) {
            assert!(
                !page.contains("http://") && !page.contains("https://") && !page.contains("src="),
                "{name}: {page}"
            );
        }
    }

    #[test]
    fn a_group_is_one_line_and_its_members_are_named_in_the_report() {
        let incidents = vec![incident("3000", Some("g")), incident("3001", Some("g")), incident("3002", None)];
        let pages = all(incidents);
        let table = &pages.iter().find(|(name, _)| *name == "incidents").unwrap().1;
        assert_eq!(table.matches("oom killed").count(), 2, "{table}");
        assert!(table.contains("74") && table.contains("97%") && table.contains("+1"), "{table}");
        let report = &pages.iter().find(|(name, _)| *name == "why").unwrap().1;
        assert_eq!(report.matches("<article").count(), 2, "{report}");
        assert!(report.contains("10.0.0.2:3001"), "{report}");
    }

    #[test]
    fn what_has_no_page_is_none() {
        assert!(Pages::default().page("alerts", "{}").is_none());
        assert!(Pages::default().page("why", "not a document").unwrap().is_err());
    }
}
