//! `/v1/events`: what happens, as it happens, by WebSocket (RFC 6455).

mod message;
mod routes;
mod watch;

pub(crate) use self::routes::routes;
