//! Fuzz targets: functions that take any bytes, and panic when what reads them is wrong.
//!
//! One file, one target, and one program of the same name in `bin/`. Built by `run.sh`, with
//! instrumentation, that program is a fuzzer (libFuzzer); built in the ordinary way it replays the
//! files that it is given. The test `corpora` replays every committed input.
//!
//! Each input starts from the same state, so that a reproducer is one file.

#![forbid(unsafe_code)]
#![expect(clippy::unwrap_used, reason = "a failed unwrap is a finding")]

mod channel_data;
mod configuration;
mod dns_message;
mod dns_question;
mod dtls_hello;
mod fixture;
mod liveness;
mod peer_filter;
mod proxy_v2;
mod relay_operations;
mod replay;
mod rules;
mod stream_framing;
mod stun_message;
mod tsig_message;
mod zone_file;

// The slow models and the small codec belong to the tests of the core, which do not know this crate.
#[path = "../../../turnd/core/tests/scenarios/codec.rs"]
#[allow(
    dead_code,
    clippy::allow_attributes,
    reason = "the core's tests use the rest"
)]
mod codec;
#[path = "../../../turnd/core/tests/scenarios/model.rs"]
mod model;
#[path = "../../../turnd/core/src/peer_filter/registries.rs"]
mod registries;
#[path = "../../../turnd/core/tests/scenarios/step.rs"]
mod step;
#[path = "../../../turnd/core/tests/scenarios/world.rs"]
#[allow(
    dead_code,
    unfulfilled_lint_expectations,
    reason = "the core's tests use the rest, under the core's own lints"
)]
mod world;

pub use channel_data::channel_data;
pub use configuration::configuration;
pub use dns_message::{NOW as DNS_NOW, SECRET as DNS_SECRET, answer_fast, compare, dns_message};
pub use dns_question::dns_question;
pub use dtls_hello::dtls_hello;
pub use liveness::liveness;
pub use peer_filter::peer_filter;
pub use proxy_v2::proxy_v2;
pub use relay_operations::relay_operations;
pub use replay::replay;
pub use stream_framing::stream_framing;
pub use stun_message::stun_message;
pub use tsig_message::tsig_message;
pub use zone_file::zone_file;

/// A target: panics on a finding.
pub type Target = fn(&[u8]);

/// All targets by name.
pub const TARGETS: &[(&str, Target)] = &[
    ("stun_message", stun_message),
    ("channel_data", channel_data),
    ("stream_framing", stream_framing),
    ("proxy_v2", proxy_v2),
    ("dtls_hello", dtls_hello),
    ("relay_operations", relay_operations),
    ("peer_filter", peer_filter),
    ("liveness", liveness),
    ("configuration", configuration),
    ("zone_file", zone_file),
    ("dns_message", dns_message),
    ("dns_question", dns_question),
    ("tsig_message", tsig_message),
];

/// The program of one target.
#[macro_export]
macro_rules! program {
    ($target:ident) => {
        #[cfg(feature = "engine")]
        libfuzzer_sys::fuzz_target!(|input: &[u8]| fuzz_tests::$target(input));

        #[cfg(not(feature = "engine"))]
        fn main() -> std::process::ExitCode {
            $crate::replay($crate::$target)
        }
    };
}
