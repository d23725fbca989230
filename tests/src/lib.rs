//! Tests of the whole product: conformance, scenarios, interop, load.
#![forbid(unsafe_code)]

pub mod binaries;
pub mod dig;
pub mod load;
pub mod outage;
pub mod process;
pub mod stun;
pub mod timing;
pub mod tools;
pub mod uclient;
