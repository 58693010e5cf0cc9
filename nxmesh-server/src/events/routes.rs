use http::Method;

use super::watch;
use crate::http::{Needs, Routes};

/// The routes of events.
pub(crate) fn routes() -> Routes {
    Routes::new()
        .on(Method::GET, "/events", Needs::Login, watch::open)
        .says("Watch what happens")
        .describe("A WebSocket (RFC 6455). Nothing is sent until a `subscribe`.")
        .query::<u64>("since", "First what happened since this event, as far as it is kept.")
}
