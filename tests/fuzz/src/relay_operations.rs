//! Sequences of operations on a whole relay against the slow model of the core's tests.

use crate::model;
use crate::step::Step;

/// Most steps of one sequence.
const STEPS: usize = 64;

/// Four bytes are a step; after each the relay must agree with the model and with itself.
pub fn relay_operations(input: &[u8]) {
    let (steps, _) = input.as_chunks::<{ Step::BYTES }>();
    model::run(steps.iter().take(STEPS).copied().map(Step::from_bytes));
}
