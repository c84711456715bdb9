//! Commands that ask a running collector.

use std::collections::HashMap;
use std::time::Duration;

use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Status};
use why502_proto::v1;
use why502_proto::v1::query_client::QueryClient;

use super::{Alerts, Asking, Command, EXIT_NOTHING, EXIT_OK, Fault, Mark, Silence, alerts, print, print_answer, style};
use crate::render;
use crate::view::{clean_json, stamp};

/// How long connecting may take.
const CONNECT: Duration = Duration::from_secs(3);
/// How long an answer may take.
const ANSWER: Duration = Duration::from_secs(30);
/// Largest answer that is read, bytes.
const ANSWER_MAX: usize = 256 << 20;

/// Runs a command that needs a collector.
pub async fn run(command: Command, asking: &Asking) -> Result<u8, Fault> {
    let mut client = connect(&asking.collector).await?;
    match command {
        Command::Watch => watch(&mut client, asking).await,
        Command::Mark { what: Mark::Deploy { service, version, host } } => {
            let request = v1::MarkRequest { kind: "deploy".to_owned(), service, version, host };
            let marked = client.mark(request).await.map_err(|status| fault(asking, &status))?;
            let at = stamp(marked.into_inner().at_unix_us);
            print(&if asking.json { format!("{{\"at\":\"{at}\"}}\n") } else { format!("marked at {at}\n") })?;
            Ok(EXIT_OK)
        }
        Command::Alerts { what: Some(Alerts::Test { sink }) } => alerts::test(&mut client, sink, asking).await,
        Command::Silence { what: Silence::Add(add) } => alerts::silence(&mut client, add, asking).await,
        Command::Silence { what: Silence::Expire { id } } => alerts::expire(&mut client, id, asking).await,
        command => {
            let Some((document, filters)) = question(command) else { return Ok(EXIT_OK) };
            let request = v1::AskRequest { document: document.to_owned(), filters };
            let answered = tokio::time::timeout(ANSWER, client.ask(request)).await;
            let answered = answered.map_err(|_| out_of_reach(asking, "no answer in 30 s"))?;
            let answer = answered.map_err(|status| fault(asking, &status))?.into_inner();
            print_answer(document, &answer.json, asking.json)?;
            Ok(if answer.found { EXIT_OK } else { EXIT_NOTHING })
        }
    }
}

/// The document and the filters of a question.
fn question(command: Command) -> Option<(&'static str, HashMap<String, String>)> {
    let (document, filters) = match command {
        Command::Status => ("status", vec![]),
        Command::Hosts(at) => ("hosts", vec![("at", at.at)]),
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
        Command::Alerts { .. } => ("alerts", vec![]),
        Command::Silence { .. } => ("silences", vec![]),
        Command::Advise { target } => ("advise", vec![("target", target)]),
        Command::Serve { .. } | Command::Watch | Command::Causes | Command::Mark { .. } | Command::Replay { .. } => {
            return None;
        }
    };
    let filters = filters.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?)));
    Some((document, filters.collect()))
}

async fn connect(url: &str) -> Result<QueryClient<Channel>, Fault> {
    let usage = || Fault::Usage(format!("{url:?} is not a collector's address such as http://127.0.0.1:5021"));
    if !url.starts_with("http://") {
        return Err(usage());
    }
    let endpoint = Endpoint::from_shared(url.to_owned()).map_err(|_| usage())?.connect_timeout(CONNECT);
    let connected = endpoint.connect().await;
    let channel = connected.map_err(|error| {
        let mut why = format!("collector {url} is out of reach");
        let mut source: Option<&dyn std::error::Error> = std::error::Error::source(&error);
        while let Some(cause) = source {
            why = format!("{why}: {cause}");
            source = cause.source();
        }
        Fault::Unreachable(why)
    })?;
    Ok(QueryClient::new(channel).max_decoding_message_size(ANSWER_MAX))
}

fn out_of_reach(asking: &Asking, why: &str) -> Fault {
    Fault::Unreachable(format!("collector {} is out of reach: {why}", asking.collector))
}

/// What a refusal means for the command line.
pub fn fault(asking: &Asking, status: &Status) -> Fault {
    match status.code() {
        Code::InvalidArgument => Fault::Usage(status.message().to_owned()),
        _ => out_of_reach(asking, status.message()),
    }
}

/// Prints what the collector tells until it stops or nobody reads.
async fn watch(client: &mut QueryClient<Channel>, asking: &Asking) -> Result<u8, Fault> {
    let lines = client.watch(v1::WatchRequest {}).await.map_err(|status| fault(asking, &status))?;
    let mut lines = lines.into_inner();
    while let Some(line) = lines.message().await.map_err(|status| fault(asking, &status))? {
        if asking.json {
            print(&format!("{}\n", clean_json(&line.json)))?;
            continue;
        }
        let told = render::watch_line(&line.json, style());
        print(&told.map_err(|why| Fault::Unreachable(format!("the collector's answer is not understood: {why}")))?)?;
    }
    Err(out_of_reach(asking, "it closed the stream"))
}
