#![no_main]

use why502_agent::gateway::Kind;

libfuzzer_sys::fuzz_target!(|input: &[u8]| why502_fuzz::reader(Kind::NginxStream, input));
