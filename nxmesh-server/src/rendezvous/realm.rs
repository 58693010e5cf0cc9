//! Which sessions of the protocol `origin` a request sees.

use http::{HeaderMap, header};

use super::{facade::Service, refusal::Refusal};

/// Who sends this as `true` asks for the realm of all.
const GLOBAL: &str = "x-rondevu-global";
/// That of the first server.
const GLOBAL_ORIGIN: &str = "https://ronde.vu";

/// The origin that a request comes from.
pub(super) fn origin_of(service: &Service, headers: &HeaderMap) -> Result<String, Refusal> {
    if service.settings.allow_global && headers.get(GLOBAL).is_some_and(|it| it == "true") {
        return Ok(GLOBAL_ORIGIN.to_owned());
    }
    match headers.get(header::ORIGIN) {
        Some(origin) => {
            let bad = |_| Refusal::bad("The Origin header has characters that are no ASCII");
            Ok(origin.to_str().map_err(bad)?.to_owned())
        }
        None if service.settings.allow_no_origin => Ok("unknown".to_owned()),
        None => Err(Refusal::bad("Missing required header: Origin")),
    }
}
