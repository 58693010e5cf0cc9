//! What is said on the WebSocket.

use nxmesh_core::{
    Error, FieldCode, Result,
    events::{EventFilter, EventId, EventPattern},
    from_json,
};
use serde::{Deserialize, Serialize};

/// What a client says.
#[derive(Debug)]
pub(super) enum Request {
    Subscribe { events: Vec<EventPattern>, filter: EventFilter },
    Unsubscribe { events: Option<Vec<EventPattern>>, filter: Option<EventFilter> },
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Body {
    action: Action,
    events: Option<Vec<EventPattern>>,
    filter: Option<EventFilter>,
}

#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum Action {
    Subscribe,
    Unsubscribe,
}

impl Request {
    pub(super) fn parse(text: &str) -> Result<Self> {
        let mut json = serde_json::Deserializer::from_str(text);
        let Body { action, events, filter } = from_json(&mut json)?;
        json.end().map_err(|error| {
            Error::invalid_field("body", FieldCode::InvalidFormat, error.to_string())
        })?;
        match action {
            Action::Subscribe => {
                let missing = || {
                    Error::invalid_field(
                        "events",
                        FieldCode::Required,
                        "must be a list of patterns",
                    )
                };
                let events = events.filter(|it| !it.is_empty()).ok_or_else(missing)?;
                Ok(Self::Subscribe { events, filter: filter.unwrap_or_default() })
            }
            Action::Unsubscribe => Ok(Self::Unsubscribe { events, filter }),
        }
    }
}

/// What a client is told, beside events and errors.
#[derive(Debug, Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(super) enum Answer {
    /// `since` is the event after which it begins: whoever loses the connection before the
    /// first event goes on from there.
    Subscribed {
        events: Vec<EventPattern>,
        filter: EventFilter,
        since: Option<EventId>,
    },
    Unsubscribed {
        events: Vec<EventPattern>,
        filter: EventFilter,
    },
    Lagged {
        data: Lag,
    },
}

#[derive(Debug, Serialize)]
pub(super) struct Lag {
    pub(super) missed: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_understood_is_named() {
        let field = |text: &str| Request::parse(text).unwrap_err().fields()[0].field.clone();
        assert_eq!(field(r#"{"action": "subscribe"}"#), "events");
        assert_eq!(field(r#"{"action": "subscribe", "events": []}"#), "events");
        assert_eq!(field(r#"{"action": "subscribe", "events": ["*", "a"]}"#), "events[1]");
        assert_eq!(field(r#"{"action": "shout", "events": ["*"]}"#), "action");
        assert_eq!(
            field(r#"{"action": "subscribe", "events": ["*"], "filter": {"agent_id": 1}}"#),
            "filter.agent_id"
        );
        assert_eq!(field(r#"{"action": "unsubscribe", "more": 1}"#), "more");
        assert_eq!(field("not json"), "body");
        assert_eq!(field(r#"{"action": "unsubscribe"} x"#), "body");
    }
}
