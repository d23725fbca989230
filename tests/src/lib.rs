//! Tests of the whole product: conformance, scenarios, interop, load.
#![forbid(unsafe_code)]

pub mod load;
