use std::{num::NonZeroU32, sync::Arc};

use http::HeaderValue;

use super::metrics::MoreFigures;

/// How the routes are served.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct HttpSettings {
    /// How many requests a minute are answered to a user, an API key, or an address that is not
    /// logged in: 1000, if not set otherwise. One more is a 429 that says when to come again.
    /// `None` for as many as come.
    pub requests_per_minute: Option<NonZeroU32>,
    /// How many logins a minute an address may try; 10, if not set otherwise.
    pub logins_per_minute: Option<NonZeroU32>,
    /// From which origins scripts in browsers may call (CORS): `https://console.example`. None,
    /// if not set.
    pub allowed_origins: Vec<HeaderValue>,
    /// What `GET /metrics` tells beside the figures of the control plane. Nothing, if not set.
    pub more_figures: Vec<Arc<dyn MoreFigures>>,
}

impl Default for HttpSettings {
    fn default() -> Self {
        Self {
            requests_per_minute: NonZeroU32::new(1000),
            logins_per_minute: NonZeroU32::new(10),
            allowed_origins: Vec::new(),
            more_figures: Vec::new(),
        }
    }
}
