//! Rendering: a projection, and what is known of an nginx, to files. Pure: no
//! clock, no chance, no I/O; the same input gives the same bytes.
//!
//! One file for each virtual host, upstream and port, so that an error of nginx
//! names its owner. All tokens go through [`syntax`]; nothing else writes
//! nginx's language.

#[cfg(test)]
mod accepts;
mod blame;
#[cfg(test)]
mod blames;
mod facts;
mod field;
mod location;
mod main_file;
#[cfg(test)]
mod parse;
mod port;
mod rendered;
mod server;
pub mod syntax;
#[cfg(test)]
mod tests;
mod types;
mod upstream;

pub use self::{
    blame::{Blame, Blamed, blame},
    facts::{NginxFacts, NginxVersion},
    field::Field,
    main_file::{STATUS_PATH, VERSION_PATH},
    rendered::{Owner, Place, Rendered, render},
};
