//! Tests of the whole product: conformance, scenarios, interop, load.
#![forbid(unsafe_code)]

pub mod bench;
pub mod binaries;
pub mod client;
pub mod dig;
pub mod fleet;
pub mod forwarder;
pub mod link;
pub mod load;
pub mod netns;
pub mod outage;
pub mod process;
pub mod rogue;
pub mod rules;
pub mod stun;
pub mod subject;
pub mod timing;
pub mod tools;
pub mod turnd;
pub mod uclient;
