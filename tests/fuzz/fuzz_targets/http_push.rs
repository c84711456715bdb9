#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| why502_fuzz::http_push(input));
