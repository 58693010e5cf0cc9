//! All parts together: the reference server and agent as processes, a real nginx.

mod apply;
