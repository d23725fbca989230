//! `[log]`: how much is logged and in which shape.

use settings::Table;
use tracing::level_filters::LevelFilter;

/// The shape of a log record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// One line of text.
    Text,
    /// One JSON object in a line.
    Json,
}

/// The `[log]` table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Log {
    /// The shape of a record. Fixed for the life of the process.
    pub format: Format,
    /// The least important level that is logged. Packets are at `trace` only.
    pub level: LevelFilter,
}

impl Log {
    pub(super) fn build(table: &mut Table<'_>) -> Self {
        let formats = [("text", Format::Text), ("json", Format::Json)];
        let levels = [
            ("error", LevelFilter::ERROR),
            ("warn", LevelFilter::WARN),
            ("info", LevelFilter::INFO),
            ("debug", LevelFilter::DEBUG),
            ("trace", LevelFilter::TRACE),
        ];
        Self {
            format: table.one_of("format", &formats, Format::Text).value,
            level: table.one_of("level", &levels, LevelFilter::INFO).value,
        }
    }
}
