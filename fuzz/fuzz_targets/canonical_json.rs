//! What is signed by clients of the protocol `rpc`, made of whatever bytes.

#![no_main]

#[path = "../../nxmesh-core/tests/rendezvous_bytes/promises.rs"]
#[expect(dead_code, reason = "each target is for one of them")]
mod promises;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| promises::canonical_json_holds(bytes));
