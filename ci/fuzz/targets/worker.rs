#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| golf_harness_fuzz::worker(bytes));
