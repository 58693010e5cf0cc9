use std::{io, path::PathBuf};

/// What can go wrong between the agent and its nginx.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum NginxError {
    /// The program cannot be run.
    #[error("cannot run {program}")]
    Run {
        /// Which.
        program: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// It did not end in time.
    #[error("{program} did not end within {seconds} s")]
    Hangs {
        /// Which.
        program: PathBuf,
        /// The patience there was.
        seconds: u64,
    },
    /// It is not what it should be.
    #[error("{program} is no nginx that can be used")]
    Unknown {
        /// Which.
        program: PathBuf,
        /// What is missing.
        #[source]
        source: nxmesh_core::Error,
    },
    /// nginx refuses, in its own words, or those who wrote what it refuses are told which of it.
    #[error("{}", .0.join("; "))]
    Refused(Vec<String>),
    /// nginx does not run, and it is not the agent's to start it.
    #[error(
        "nginx does not run, and this agent is attached: somebody else has to start it; what it should serve is ready"
    )]
    Away,
    /// nginx's master is gone.
    #[error("nginx's master process died")]
    Died,
    /// nginx did not come to serve what it should, and may still do so.
    #[error("nginx does not serve the new configuration after {waited_ms} ms: {said}")]
    Unproven {
        /// How long it was waited for.
        waited_ms: u128,
        /// What nginx said meanwhile.
        said: String,
    },
    /// A part of the agent ended in the middle of its work, which is a defect of it.
    #[error("a part of the agent panicked: its log says where; nginx goes on")]
    Panicked,
    /// Files of the state folder cannot be read or written.
    #[error("cannot work with {path}")]
    Io {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
}

impl NginxError {
    /// The error with its causes, each once.
    pub(crate) fn full(&self) -> String {
        let mut text = self.to_string();
        let mut cause = std::error::Error::source(self);
        while let Some(error) = cause {
            text = format!("{text}: {error}");
            cause = error.source();
        }
        text
    }

    pub(crate) fn refused(why: impl Into<String>) -> Self {
        Self::Refused(vec![why.into()])
    }

    pub(crate) fn io(path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::Io { path, source }
    }
}
