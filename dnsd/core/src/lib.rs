//! Health, verdicts, steering and answers as pure functions and state machines.
