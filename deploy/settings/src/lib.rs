//! Operator-facing TOML files: spans, every error at once, rendering with file, line and column.
