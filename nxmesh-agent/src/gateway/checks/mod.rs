//! Active health checks: asking the servers of upstreams whether they are well, and taking out of
//! rotation those that are not. All of it is done here, whether there is a control plane or not.

mod ask;
mod checker;
mod server;
mod servers;

pub(crate) use self::checker::{Checker, Checks};
