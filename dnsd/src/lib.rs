//! The health-steered authoritative DNS daemon around dnsd-core.
