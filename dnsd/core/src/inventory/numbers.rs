//! Finds what is wrong with how to answer and how to judge: numbers out of range or out of order.

use super::check::Problems;
use super::{Policy, Subject, Thresholds};
use crate::limits;

pub(super) fn check_policy(policy: &Policy, problems: &mut Problems) {
    let subject = Subject::Policy;
    problems.require(
        (1..=limits::ANSWERS_MAX).contains(&policy.answers),
        subject,
        format!(
            "an answer names 1 to {} relays, not {}",
            limits::ANSWERS_MAX,
            policy.answers
        ),
    );
    problems.require(
        (limits::VARIANTS_MIN..=limits::VARIANTS_MAX).contains(&policy.variants),
        subject,
        format!(
            "{} to {} variants",
            limits::VARIANTS_MIN,
            limits::VARIANTS_MAX
        ),
    );
    problems.require(
        policy.headroom_percent < 100,
        subject,
        "the headroom is 0 to 99 percent",
    );
    problems.require(
        policy.ttl_min >= 1 && policy.ttl_min <= policy.ttl_max && policy.ttl_max <= 3600,
        subject,
        "the times to live must satisfy 1 s <= minimum <= maximum <= 1 h",
    );
    problems.require(
        (1..=86_400).contains(&policy.ttl_static),
        subject,
        "the time to live of static records must be 1 s to 1 d",
    );
    problems.require(
        (1..=limits::NEGATIVE_TTL_MAX).contains(&policy.ttl_negative),
        subject,
        format!("negative answers live 1 to {} s", limits::NEGATIVE_TTL_MAX),
    );
}

pub(super) fn check_thresholds(t: &Thresholds, problems: &mut Problems) {
    let subject = Subject::Thresholds;
    let times = [
        t.report_interval,
        t.silence_down,
        t.silence_suspect,
        t.silence_dead,
        t.stun_interval,
        t.stun_spacing,
        t.stun_timeout,
        t.stun_timeout_max,
        t.stun_dead,
        t.echo_spacing,
        t.echo_timeout,
        t.load_interval,
        t.path_spacing,
        t.path_timeout,
    ];
    let shortest = times
        .into_iter()
        .chain(t.echo_interval)
        .chain(t.path_interval)
        .min()
        .unwrap_or_default();
    problems.require(
        shortest.as_millis() >= 10,
        subject,
        "every interval and timeout must be at least 10 ms",
    );
    problems.require(
        t.silence_down >= t.report_interval + t.report_slack,
        subject,
        "silence must not condemn before a report is late",
    );
    problems.require(
        t.silence_dead >= t.silence_suspect && t.silence_suspect >= t.silence_down,
        subject,
        "the silences must be ordered: down <= suspect <= dead",
    );
    problems.require(
        t.stun_timeout <= t.stun_timeout_max,
        subject,
        "the longest STUN timeout must not be below the shortest",
    );
    problems.require(
        t.points_suspect >= 1 && t.points_suspect <= t.points_down,
        subject,
        "the points must satisfy 1 <= suspect <= down",
    );
    problems.require(
        t.recover_reports >= 1,
        subject,
        "recovery needs at least one report",
    );
    problems.require(
        !t.ballot_spacing.is_zero()
            && t.ballot_spacing <= t.ballot_interval
            && t.ballot_interval < t.ballot_life
            && t.ballot_life < t.patience,
        subject,
        "ballots: 0 < spacing <= interval < life < patience",
    );
    problems.require(
        [t.floor_percent, t.removal_percent, t.isolation_percent]
            .iter()
            .all(|percent| *percent <= 100),
        subject,
        "shares are 0 to 100 percent",
    );
    problems.require(
        t.hold <= t.hold_max,
        subject,
        "the hold must not exceed its maximum",
    );
}
