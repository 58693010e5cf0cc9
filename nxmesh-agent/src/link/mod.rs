//! Staying in touch with the control plane.

mod alerts;
mod health;
mod pulse;
mod spool;
mod stay;
mod unheard;
mod waits;

pub(crate) use self::{
    spool::{Spool, Told},
    stay::Link,
};
