use http::Method;

use super::watch;
use crate::http::{Needs, Routes};

/// The routes of events.
pub(crate) fn routes() -> Routes {
    Routes::new().on(Method::GET, "/events", Needs::Login, watch::open)
}
