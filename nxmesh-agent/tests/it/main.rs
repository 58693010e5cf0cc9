//! The agent with a real nginx, and a control plane that is played by the test.

#![expect(
    clippy::unwrap_used,
    clippy::future_not_send,
    clippy::wildcard_enum_match_arm,
    reason = "a test that cannot go on fails"
)]

mod apply;
mod bodies;
mod commands;
mod given;
mod program;
mod recover;
mod rollback;
mod silence;
