//! What browsers are told. Whoever may call proves it by a header, never by a cookie: so any origin may.

use axum::response::Response;
use http::{HeaderMap, HeaderName, HeaderValue, header};

/// What a router tells browsers.
#[derive(Debug, Clone)]
pub(super) struct Cors {
    /// Which protocol it speaks.
    pub(super) protocol: &'static str,
    /// `None` for any.
    pub(super) origins: Option<Vec<HeaderValue>>,
    pub(super) methods: &'static str,
    pub(super) headers: &'static str,
    pub(super) max_age: &'static str,
    pub(super) credentials: bool,
}

impl Cors {
    /// The origin that is said to be allowed: the one that asks if it is, else the first that is.
    fn allowed(&self, asking: Option<&HeaderValue>) -> Option<HeaderValue> {
        match &self.origins {
            None => asking.cloned(),
            Some(origins) => {
                let known = asking.filter(|it| origins.contains(it));
                known.or_else(|| origins.first()).cloned()
            }
        }
    }

    /// Adds what every answer has.
    pub(super) fn add(&self, asking: Option<&HeaderValue>, response: &mut Response) {
        let headers = response.headers_mut();
        if let Some(origin) = self.allowed(asking) {
            headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
        }
        if self.credentials {
            set(headers, header::ACCESS_CONTROL_ALLOW_CREDENTIALS, "true");
        }
        set(headers, header::ACCESS_CONTROL_EXPOSE_HEADERS, "Content-Type");
        if !headers.contains_key(header::VARY) {
            set(headers, header::VARY, "Origin");
        }
    }

    /// What a preflight is answered, whatever its path is.
    pub(super) fn preflight(&self) -> Response {
        let mut response = Response::new(axum::body::Body::empty());
        *response.status_mut() = http::StatusCode::NO_CONTENT;
        let headers = response.headers_mut();
        set(headers, header::ACCESS_CONTROL_MAX_AGE, self.max_age);
        set(headers, header::ACCESS_CONTROL_ALLOW_METHODS, self.methods);
        set(headers, header::ACCESS_CONTROL_ALLOW_HEADERS, self.headers);
        set(headers, header::VARY, "Origin, Access-Control-Request-Headers");
        response
    }
}

fn set(headers: &mut HeaderMap, name: HeaderName, value: &'static str) {
    headers.insert(name, HeaderValue::from_static(value));
}
