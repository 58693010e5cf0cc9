//! Staying in touch with the control plane.

mod health;
mod stay;

pub(crate) use self::stay::Link;
