//! Why there is no configuration, and where what is wrong stands.

use std::fmt;
use std::path::PathBuf;

/// Why there is no configuration. The cause stands in the text, and so is no `source`, which would be told once more.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ConfigError {
    #[error("cannot read the configuration file {path}: {cause}")]
    Unreadable { path: PathBuf, cause: std::io::Error },
    #[error("{path}: {text}")]
    NoToml { path: PathBuf, text: String },
    #[error("{text} ({origin})")]
    Setting { text: String, origin: Origin },
    #[error("the environment variable {0} is not UTF-8")]
    NoText(String),
    #[error("{0}")]
    Invalid(String),
}

/// Where a value stands.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Origin {
    Line { file: PathBuf, line: usize },
    Variable(String),
    Flag(&'static str),
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Line { file, line } => write!(f, "{}, line {line}", file.display()),
            Self::Variable(name) => write!(f, "environment variable {name}"),
            Self::Flag(name) => write!(f, "flag {name}"),
        }
    }
}
