//! Tests of the whole product: conformance, scenarios, interop, load.
