//! The choice: from inventory and verdicts to pools and answer variants.
