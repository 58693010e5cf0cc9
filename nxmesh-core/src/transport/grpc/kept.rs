//! Configurations as agents keep them: in the bytes in which they came.

use nxmesh_proto::agent::v1 as proto;
use prost::Message;

use super::config;
use crate::{Error, ErrorKind, Result, gateway::ConfigUpdate};

/// An update in bytes, to be kept. Private keys are among them.
#[must_use]
pub fn encode_update(update: &ConfigUpdate) -> Vec<u8> {
    config::from_config(update).encode_to_vec()
}

/// Reads what [`encode_update`] wrote.
///
/// # Errors
/// [`Corrupt`](ErrorKind::Corrupt) when this is no update, or one that this version does not
/// understand.
pub fn decode_update(bytes: &[u8]) -> Result<ConfigUpdate> {
    let corrupt = Error::new(ErrorKind::Corrupt, "this is not a configuration that is known");
    let message = match proto::ConfigUpdate::decode(bytes) {
        Ok(message) => message,
        Err(error) => return Err(corrupt.with_source(error)),
    };
    config::to_update(message).map_err(|error| corrupt.with_source(error))
}

#[cfg(all(test, feature = "conformance"))]
mod tests {
    use super::*;
    use crate::{conformance::links::server_messages, gateway::link::ServerMessage};

    #[test]
    fn what_is_kept_reads_back_and_what_is_torn_does_not() {
        let messages = server_messages();
        let update = messages.iter().find_map(|it| {
            if let ServerMessage::Config(update) = it { Some(update) } else { None }
        });
        let update = update.unwrap().as_ref();
        let mut bytes = encode_update(update);
        assert_eq!(&decode_update(&bytes).unwrap(), update);
        bytes.truncate(bytes.len() / 2);
        assert_eq!(decode_update(&bytes).unwrap_err().kind(), ErrorKind::Corrupt);
    }
}
