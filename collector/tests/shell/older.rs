//! Agents of released versions, as their bytes were recorded, in front of the collector of today.

use std::path::Path;

use prost::Message;

use super::agent::{Agent, Collector};
use super::v1;

#[tokio::test]
async fn what_an_older_agent_sent_is_taken_as_it_was_sent() {
    for name in ["plain.hex", "packed.hex"] {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../proto/tests/recorded/0.1.0").join(name);
        let text = std::fs::read_to_string(path).unwrap();
        let mut messages = text.lines().map(|line| {
            let bytes = (0..line.len()).step_by(2).map(|at| u8::from_str_radix(&line[at..at + 2], 16).unwrap());
            v1::AgentMessage::decode(bytes.collect::<Vec<_>>().as_slice()).unwrap()
        });
        let dir = tempfile::tempdir().unwrap();
        let collector = Collector::start(dir.path()).await;
        let mut agent = Agent::open(&collector.ingest, messages.next().unwrap().kind.unwrap()).await;
        let mut reports = 0;
        for message in messages {
            agent.say(message).await;
            reports += 1;
        }
        agent.acked(reports).await;
        let status = collector.until("status", &[], |doc| doc["collector"]["reports"] == reports).await;
        assert_eq!(status["collector"]["unknown"], 0);
        assert_eq!(status["agents"]["versions"]["0.1.0"], 1);
        let instances = collector.until("instances", &[], |doc| doc["instances"][0]["service"] == "api").await;
        assert_eq!(instances["instances"][0]["host"], "app-1");
        collector.stop().await;
    }
}
