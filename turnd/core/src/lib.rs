//! The TURN server as a pure state machine.
