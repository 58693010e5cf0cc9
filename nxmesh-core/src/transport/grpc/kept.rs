//! Configurations as agents keep them: in the bytes in which they came.

use nxmesh_proto::agent::v1 as proto;
use prost::Message;

use super::config;
use crate::{
    Error, ErrorKind, Result,
    gateway::{ConfigUpdate, link::ServerMessage},
};

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
    let corrupt = |why: String| Error::new(ErrorKind::Corrupt, why);
    let message = proto::ConfigUpdate::decode(bytes)
        .map_err(|error| corrupt("not a configuration".to_owned()).with_source(error))?;
    match config::to_config(message) {
        ServerMessage::Config(update) => Ok((*update).clone()),
        ServerMessage::Unreadable { reason, .. } => Err(corrupt(reason)),
        ServerMessage::Registered(_) | ServerMessage::Heard | ServerMessage::Command(_) => {
            Err(corrupt("not a configuration".to_owned()))
        }
    }
}
