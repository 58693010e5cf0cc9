//! Public test suites that any backend can run.
