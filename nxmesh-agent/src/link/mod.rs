//! Staying in touch with the control plane.

mod alerts;
mod health;
mod stay;

pub(crate) use self::stay::Link;
