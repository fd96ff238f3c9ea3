//! What can be wrong with a session description, and whose fault it is.

/// Whom an error concerns.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Fault {
    /// The description is wrong, or asks for what we do not do. Answer with an error and leave things as they were.
    Peer,
    /// The arguments of our own side are wrong.
    Ours,
}

/// Why a description was not accepted.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum SdpError {
    /// Larger than we read.
    #[error("the description has {bytes} bytes, more than the {limit} that are read")]
    TooLarge {
        /// Its size.
        bytes: usize,
        /// The most that is read.
        limit: usize,
    },
    /// A line that cannot be read.
    #[error("line {line} (`{text}`): {what}")]
    Syntax {
        /// Its number, from 1.
        line: usize,
        /// How it begins, as the peer wrote it.
        text: Box<str>,
        /// What is wrong with it.
        what: &'static str,
    },
    /// More of something than we take.
    #[error("more than {limit} {what} (line {line})")]
    TooMany {
        /// Number of the first line that is too many, from 1.
        line: usize,
        /// Of what.
        what: &'static str,
        /// The most that is taken.
        limit: usize,
    },
    /// Something necessary is not there.
    #[error("{what} is missing (line {line})")]
    Missing {
        /// Number of the line where the part begins that lacks it, from 1.
        line: usize,
        /// What.
        what: &'static str,
    },
    /// It is well formed but asks for what we do not do.
    #[error("not supported (line {line}): {what}")]
    Unsupported {
        /// Number of the line where the part begins that asks for it, from 1.
        line: usize,
        /// What.
        what: &'static str,
    },
    /// None of its sections can be used; why not the first.
    #[error("nothing of the offer can be used (line {line}): {what}")]
    NothingUsable {
        /// Number of the section's m= line, from 1.
        line: usize,
        /// What is wrong with a section.
        what: &'static str,
    },
    /// Our own side asked for an answer that cannot be written.
    #[error("cannot answer: {what}")]
    Arguments {
        /// Why.
        what: &'static str,
    },
}

/// Longest beginning of a line that an error quotes, in characters.
const MAX_QUOTED: usize = 80;

impl SdpError {
    /// That line number `line` cannot be read.
    pub(super) fn syntax(line: usize, text: &str, what: &'static str) -> Self {
        Self::Syntax { line, text: text.chars().take(MAX_QUOTED).collect(), what }
    }

    /// Whose fault it is.
    pub fn fault(&self) -> Fault {
        match self {
            Self::Arguments { .. } => Fault::Ours,
            _ => Fault::Peer,
        }
    }
}
