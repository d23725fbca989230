//! The signed liveness report of a relay and its acknowledgement.
