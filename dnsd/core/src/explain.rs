//! What `dnsd explain` and `dnsd answer` print: plain data, ready for serde.

use serde::Serialize;

/// Everything known about one relay.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Explanation {
    /// Its id.
    pub relay: String,
}

/// How an answer came about.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct AnswerTrace {
    /// The name asked for.
    pub name: String,
}
