//! Records that an operator wrote into a zone file: everything that is not steered.

mod check;
mod text;

use hickory_proto::rr::{Name, RData, RecordType};

/// The records of one owner name and type (RFC 2181 section 5).
#[derive(Clone, Debug, PartialEq)]
pub struct RrSet {
    /// Whose they are.
    pub name: Name,
    /// Their type.
    pub record_type: RecordType,
    /// Seconds they may be cached; the same for all of them.
    pub ttl: u32,
    /// What they say, in the file's order; at least one.
    pub data: Vec<RData>,
    /// The line of the file on which the first of them begins; from 1.
    pub line: u32,
}

/// All records of a zone file, consistent among themselves.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Records(Vec<RrSet>);

/// Something wrong with a zone file, in words for the operator.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, thiserror::Error)]
#[error("line {line}: {message}")]
pub struct RecordProblem {
    /// The line on which the record begins; from 1.
    pub line: u32,
    /// What is wrong.
    pub message: String,
}

impl Records {
    /// Reads the text of a zone file (RFC 1035 section 5.1, with `$TTL` of RFC 2308 section 4).
    /// `zone` is the origin until the text says otherwise.
    ///
    /// The zone's own SOA and NS records, and those of DNSSEC but for the DS records of delegations, are
    /// not taken: the nameserver makes them. Nor is `$INCLUDE`.
    ///
    /// # Errors
    /// Everything that is wrong, in the order of the lines.
    pub fn parse(text: &str, zone: &Name) -> Result<Self, Vec<RecordProblem>> {
        let mut problems = Vec::new();
        let lines = text::read(text, zone, &mut problems);
        let sets = check::gather(lines, zone, &mut problems);
        if problems.is_empty() {
            Ok(Self(sets))
        } else {
            problems.sort();
            Err(problems)
        }
    }

    /// The RRsets, in the order in which the file begins them.
    pub fn sets(&self) -> &[RrSet] {
        &self.0
    }
}
