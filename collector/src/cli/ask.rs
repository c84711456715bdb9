//! Commands that ask a running collector.

use std::collections::HashMap;
use std::time::Duration;

use tonic::metadata::{Ascii, MetadataValue};
use tonic::service::Interceptor;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::Channel;
use tonic::{Code, Request, Status};
use why502_proto::v1;
use why502_proto::v1::query_client::QueryClient;

use super::{
    Alerts, Asking, Command, EXIT_NOTHING, EXIT_OK, Fault, HostsCommand, IncidentCommand, Logs, Mark, Silence, access,
    alerts, bundle, incident, print, print_answer, style,
};
use crate::identity::client::NoClient;
use crate::render;
use crate::view::{clean_json, stamp};

/// How long an answer may take.
const ANSWER: Duration = Duration::from_secs(30);
/// Largest answer that is read, bytes.
const ANSWER_MAX: usize = 256 << 20;

/// The way to a collector.
pub(super) type Caller = InterceptedService<Channel, Shown>;

/// Runs a command that needs a collector.
pub async fn run(command: Command, asking: &Asking) -> Result<u8, Fault> {
    let mut client = QueryClient::new(connect(asking).await?).max_decoding_message_size(ANSWER_MAX);
    match command {
        Command::Token { what } => access::token(what, asking).await,
        Command::Hosts { what: Some(HostsCommand::Revoke { host }), .. } => access::revoke(host, asking).await,
        Command::Watch => watch(&mut client, asking).await,
        Command::Mark { what: Mark::Deploy { service, version, host } } => {
            let request = v1::MarkRequest { kind: "deploy".to_owned(), service, version, host };
            let marked = client.mark(request).await.map_err(|status| fault(asking, &status))?;
            let at = stamp(marked.into_inner().at_unix_us);
            print(&if asking.json { format!("{{\"at\":\"{at}\"}}\n") } else { format!("marked at {at}\n") })?;
            Ok(EXIT_OK)
        }
        Command::Incident { what: IncidentCommand::Export { id, output } } => {
            incident::export(&mut client, id, &output, asking).await
        }
        Command::Bundle(what) => bundle::run(&mut client, what, asking).await,
        Command::Alerts { what: Some(Alerts::Test { sink }) } => alerts::test(&mut client, sink, asking).await,
        Command::Silence { what: Silence::Add(add) } => alerts::silence(&mut client, add, asking).await,
        Command::Silence { what: Silence::Expire { id } } => alerts::expire(&mut client, id, asking).await,
        command => {
            let Some((document, filters)) = question(command) else { return Ok(EXIT_OK) };
            let answer = ask(&mut client, document, filters, asking).await?;
            print_answer(document, &answer.json, asking.json)?;
            Ok(if answer.found { EXIT_OK } else { EXIT_NOTHING })
        }
    }
}

/// Asks for a document.
pub(super) async fn ask(
    client: &mut Client,
    document: &str,
    filters: HashMap<String, String>,
    asking: &Asking,
) -> Result<v1::AskResponse, Fault> {
    let request = v1::AskRequest { document: document.to_owned(), filters };
    let answered = tokio::time::timeout(ANSWER, client.ask(request)).await;
    let answered = answered.map_err(|_| out_of_reach(asking, "no answer in 30 s"))?;
    Ok(answered.map_err(|status| fault(asking, &status))?.into_inner())
}

/// The document and the filters of a question.
fn question(command: Command) -> Option<(&'static str, HashMap<String, String>)> {
    let (document, filters) = match command {
        Command::Status => ("status", vec![]),
        Command::Hosts { at, .. } => ("hosts", vec![("at", at.at)]),
        Command::Instances(at) => ("instances", vec![("at", at.at)]),
        Command::Gateways(at) => ("gateways", vec![("at", at.at)]),
        Command::Incidents(only) => (
            "incidents",
            vec![
                ("since", only.since),
                ("state", only.state),
                ("upstream", only.upstream),
                ("service", only.service),
                ("cause", only.cause),
                ("family", only.family),
            ],
        ),
        Command::Why { target, at, since } => ("why", vec![("target", Some(target)), ("at", at.at), ("since", since)]),
        Command::Timeline { target, at, since } => {
            ("timeline", vec![("target", Some(target)), ("at", at.at), ("since", since)])
        }
        Command::Logs(Logs { target, at, since, grep, level }) => {
            let only = [("target", Some(target)), ("at", at.at), ("since", since), ("grep", grep), ("level", level)];
            ("logs", only.to_vec())
        }
        Command::Environment { target } => ("environment", vec![("target", Some(target))]),
        Command::Alerts { .. } => ("alerts", vec![]),
        Command::Silence { .. } => ("silences", vec![]),
        Command::Advise { target } => ("advise", vec![("target", target)]),
        Command::Serve { .. }
        | Command::Watch
        | Command::Causes
        | Command::Mark { .. }
        | Command::Incident { .. }
        | Command::Bundle(_)
        | Command::Token { .. }
        | Command::Ca { .. }
        | Command::Replay { .. } => return None,
    };
    let filters = filters.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?)));
    Some((document, filters.collect()))
}

/// Who asks questions.
pub(super) type Client = QueryClient<Caller>;

/// Connects with whatever shows who asks.
pub(super) async fn connect(asking: &Asking) -> Result<Caller, Fault> {
    let told = |none: NoClient| match none {
        NoClient::Usage(why) => Fault::Usage(why),
        NoClient::Unreachable(why) => Fault::Unreachable(why),
    };
    let token = asking.credentials.authorization(&asking.collector).map_err(told)?;
    let channel = asking.credentials.connect(&asking.collector).await.map_err(told)?;
    Ok(InterceptedService::new(channel, Shown(token)))
}

/// Shows a token with each call.
#[derive(Clone)]
pub(super) struct Shown(Option<MetadataValue<Ascii>>);

impl Interceptor for Shown {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        if let Some(token) = &self.0 {
            request.metadata_mut().insert("authorization", token.clone());
        }
        Ok(request)
    }
}

fn out_of_reach(asking: &Asking, why: &str) -> Fault {
    Fault::Unreachable(format!("collector {} is out of reach: {why}", asking.collector))
}

/// What a refusal means for the command line.
pub fn fault(asking: &Asking, status: &Status) -> Fault {
    match status.code() {
        Code::InvalidArgument | Code::Unauthenticated | Code::PermissionDenied | Code::FailedPrecondition => {
            Fault::Usage(status.message().to_owned())
        }
        Code::NotFound => Fault::Failed(status.message().to_owned()),
        Code::Unimplemented => {
            out_of_reach(asking, "no questions are answered there: agents report to 5020, questions go to 5021")
        }
        _ => out_of_reach(asking, status.message()),
    }
}

/// Prints what the collector tells until it stops or nobody reads.
async fn watch(client: &mut Client, asking: &Asking) -> Result<u8, Fault> {
    let lines = client.watch(v1::WatchRequest {}).await.map_err(|status| fault(asking, &status))?;
    let (mut lines, mut told) = (lines.into_inner(), render::Watch::default());
    while let Some(line) = lines.message().await.map_err(|status| fault(asking, &status))? {
        if asking.json {
            print(&format!("{}\n", clean_json(&line.json)))?;
            continue;
        }
        let next = told.line(&line.json, style());
        print(&next.map_err(|why| Fault::Unreachable(format!("the collector's answer is not understood: {why}")))?)?;
    }
    Err(out_of_reach(asking, "it closed the stream"))
}
