//! What agents and collectors of released versions said, byte by byte as it was recorded: `recorded/VERSION/`, a message a line.
//! `plain.hex` and `packed.hex` are an agent's stream, from its hello to its end; `ack.hex` is a collector's answer. A field
//! that is removed, renumbered or of another type shows here; so does a message that a newer version has more to say in.
#![allow(clippy::unwrap_used)] // a test says by panicking that it failed

use std::fmt::Debug;
use std::fs;
use std::path::Path;

use prost::Message;
use why502_proto::v1;
use why502_proto::v1::agent_message::Kind;

/// Field 1900, of bytes, such as no version has yet.
const UNKNOWN: [u8; 6] = [0xe2, 0x76, 0x03, b'n', b'e', b'w'];

/// The messages of a file, for each version.
fn recorded(name: &str) -> Vec<Vec<u8>> {
    let versions = fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/recorded")).unwrap();
    let texts = versions.map(|version| fs::read_to_string(version.unwrap().path().join(name)).unwrap());
    let messages: Vec<_> = texts.flat_map(|text| text.lines().map(bytes).collect::<Vec<_>>()).collect();
    assert!(!messages.is_empty(), "{name} holds nothing");
    messages
}

fn bytes(line: &str) -> Vec<u8> {
    (0..line.len()).step_by(2).map(|at| u8::from_str_radix(&line[at..at + 2], 16).unwrap()).collect()
}

/// Whole: what is not understood would be missing when it is written again.
fn assert_understood<T: Message + Default + PartialEq + Debug>(bytes: &[u8]) -> T {
    let message = T::decode(bytes).unwrap();
    assert_eq!(message.encode_to_vec(), bytes, "{message:?}");
    let newer = T::decode([bytes, &UNKNOWN].concat().as_slice()).unwrap();
    assert!(newer == message, "what a newer version adds changes nothing: {message:?}");
    message
}

#[test]
fn what_older_agents_said_is_understood_whole() {
    for (name, packed) in [("plain.hex", false), ("packed.hex", true)] {
        let mut messages = recorded(name).into_iter();
        let hello: v1::AgentMessage = assert_understood(&messages.next().unwrap());
        assert!(matches!(hello.kind, Some(Kind::Hello(hello)) if hello.host == "app-1" && hello.next_seq == 1));
        for message in messages {
            let message: v1::AgentMessage = assert_understood(&message);
            let kind = message.kind.unwrap();
            assert_eq!(matches!(kind, Kind::Packed(_)), packed);
            if let Kind::Report(report) = kind {
                assert_understood::<v1::Report>(&report.encode_to_vec());
            }
        }
    }
}

#[test]
fn what_older_collectors_answered_is_understood_whole() {
    for answer in recorded("ack.hex") {
        let answer: v1::CollectorMessage = assert_understood(&answer);
        let ack = answer.ack.unwrap();
        assert!(ack.at_unix_us > 0 && ack.takes_packed);
    }
}
