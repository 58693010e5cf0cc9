//! The parameter `bloom` of the protocol `offers`, of whatever bytes.

#![no_main]

#[path = "../../nxmesh-core/tests/rendezvous_bytes/promises.rs"]
#[expect(dead_code, reason = "each target is for one of them")]
mod promises;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| promises::peer_filter_holds(bytes));
