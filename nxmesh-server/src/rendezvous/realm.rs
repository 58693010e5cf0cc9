//! Which sessions of the protocol `origin` a request sees.

use http::{HeaderMap, header};

use super::{facade::Service, refusal::Refusal};

/// How long an origin may be: a scheme, the longest host there is, and a port are half of it.
const MAX_ORIGIN: usize = 512;
/// Who sends this as `true` asks for the realm of all.
const GLOBAL: &str = "x-rondevu-global";
/// That of the first server.
const GLOBAL_ORIGIN: &str = "https://ronde.vu";

/// The origin that a request comes from.
pub(super) fn asking_origin(service: &Service, headers: &HeaderMap) -> Result<String, Refusal> {
    if service.settings.allow_global && headers.get(GLOBAL).is_some_and(|it| it == "true") {
        return Ok(GLOBAL_ORIGIN.to_owned());
    }
    match headers.get(header::ORIGIN).filter(|it| !it.is_empty()) {
        Some(origin) => {
            let bad = |_| Refusal::bad("The Origin header has characters that are no ASCII");
            let origin = origin.to_str().map_err(bad)?;
            if origin.len() > MAX_ORIGIN {
                let what = format!("The Origin header is longer than {MAX_ORIGIN} bytes");
                return Err(Refusal::bad(what));
            }
            Ok(origin.to_owned())
        }
        None if service.settings.allow_no_origin => Ok("unknown".to_owned()),
        None => Err(Refusal::bad("Missing required header: Origin")),
    }
}
