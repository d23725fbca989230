//! `dnsd key …`: the keys of signed zones, made, shown and rolled as files; the daemon reads them when
//! it is told to.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Subcommand};
use credentials::UnixTime;
use dnsd_core::dnssec::{KEY_TTL, Timing};
use hickory_proto::rr::Name;
use serde_json::{Value, json};

use super::{File, Output, fail, show, wrong};
use crate::clock;
use crate::config::Config;
use crate::dnssec::file::{NEVER, Stored, stamp};
use crate::dnssec::store;
use crate::orders;
use crate::readable::{table, text};

/// How long nameservers and resolvers have to learn of a new key, where nothing else is said: it is
/// copied to every nameserver by then.
const NOTICE: &str = "48h";
/// For how long a DS record may be cached that is not ours, where nothing else is said.
const DS_TTL: &str = "48h";

/// Makes, shows and rolls the keys of signed zones. All nameservers have the same key files.
#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Make a zone's first key: it signs at once; add its DS record to the parent zone when every
    /// nameserver has it
    Generate {
        #[command(flatten)]
        of: Of,
    },
    /// Show all keys with their parts
    List {
        #[command(flatten)]
        of: Of,
    },
    /// Print the DS records that the parent zone is to have
    Ds {
        #[command(flatten)]
        of: Of,
    },
    /// Begin to replace a zone's key, or end that: with a new key beside the old one, whose DS record is
    /// to take the place of the old one's in the parent zone
    Roll {
        /// The parent zone has the new DS record in place of the old one: the old key goes as soon as
        /// nobody can have the old DS record any more
        #[arg(long)]
        finish: bool,
        /// How long every nameserver and resolver has to learn of the new key before it signs
        #[arg(long, value_name = "DURATION", default_value = NOTICE, value_parser = orders::seconds)]
        notice: u64,
        /// For how long the old DS record may be cached: its TTL in the parent zone
        #[arg(long, value_name = "DURATION", default_value = DS_TTL, value_parser = orders::seconds)]
        ds_ttl: u64,
        #[command(flatten)]
        of: Of,
    },
}

/// Whose keys.
#[derive(Debug, Args)]
pub(super) struct Of {
    /// The zone; without it the first one of the configuration, for `list` and `ds` all that are signed
    zone: Option<String>,
    #[command(flatten)]
    file: File,
    #[command(flatten)]
    output: Output,
}

/// The zones meant, and where keys lie.
struct Place {
    directory: PathBuf,
    zones: Vec<Name>,
}

/// Runs a command.
pub(super) fn run(command: &Command) -> ExitCode {
    let (Command::Generate { of }
    | Command::List { of }
    | Command::Ds { of }
    | Command::Roll { of, .. }) = command;
    let place = match place(
        of,
        matches!(command, Command::List { .. } | Command::Ds { .. }),
    ) {
        Ok(place) => place,
        Err(code) => return code,
    };
    let now = clock::unix();
    let done = match command {
        Command::Generate { .. } => generate(&place, now),
        Command::List { .. } | Command::Ds { .. } => list(&place, now),
        Command::Roll {
            finish: true,
            ds_ttl,
            ..
        } => finish(&place, now, *ds_ttl),
        Command::Roll { notice, .. } => roll(&place, now, *notice),
    };
    let readable = match command {
        Command::Ds { .. } => records,
        _ => keys,
    };
    match done {
        Ok(value) => show(&value, of.output.json, readable),
        Err(why) => fail(&why),
    }
}

fn place(of: &Of, all: bool) -> Result<Place, ExitCode> {
    let config = Config::outline(&of.file.config).map_err(|errors| wrong(&errors))?;
    let Some(directory) = config.dnssec.directory else {
        let path = of.file.config.display();
        return Err(fail(&format!(
            "{path} has no [dnssec] with the directory of the keys"
        )));
    };
    let zones = match &of.zone {
        None if all => config.dnssec.zones,
        None => vec![config.inventory.zone().name.clone()],
        Some(zone) => {
            let mut name =
                Name::from_ascii(zone).map_err(|error| fail(&format!("{zone}: {error}")))?;
            name.set_fqdn(true);
            if !config.dnssec.zones.contains(&name) {
                return Err(fail(&format!(
                    "no zone {name} is signed by this configuration"
                )));
            }
            vec![name]
        }
    };
    Ok(Place { directory, zones })
}

impl Place {
    /// The one zone that a command is about, and its keys.
    fn keys(&self) -> Result<(&Name, Vec<Stored>), String> {
        let zone = self.zones.first().ok_or("no zone is signed")?;
        let keys = store::list(&self.directory, zone).map_err(|error| error.to_string())?;
        Ok((zone, keys))
    }

    /// A new key whose tag none of the others has.
    fn new_key(
        &self,
        zone: &Name,
        others: &[Stored],
        timing: Timing,
        now: UnixTime,
    ) -> Result<Stored, String> {
        loop {
            let made = Stored::generate(&self.directory, zone, timing, now);
            let made = made.map_err(|error| error.to_string())?;
            if others.iter().all(|other| other.key.tag() != made.key.tag()) {
                return Ok(made);
            }
        }
    }
}

fn generate(place: &Place, now: UnixTime) -> Result<Value, String> {
    let (zone, keys) = place.keys()?;
    if keys.iter().any(|stored| stored.key.timing.delete.is_none()) {
        return Err(format!(
            "zone {zone} has a key: replace it with `dnsd key roll {zone}`"
        ));
    }
    let made = place.new_key(zone, &keys, Timing::at_once(now), now)?;
    made.write(zone).map_err(|error| error.to_string())?;
    Ok(json!({
        "keys": [described(zone, &made, now)],
        "next": format!(
            "copy both files to every nameserver and reload each, then add the DS record of \
             `dnsd key ds {zone}` to the parent zone"
        ),
    }))
}

/// The successor is shown at once and asks the parent for its DS record when all know it; it signs
/// from the same moment on, and the old key goes when it is finished with.
fn roll(place: &Place, now: UnixTime, notice: u64) -> Result<Value, String> {
    if notice < u64::from(KEY_TTL) {
        return Err(format!(
            "resolvers keep the old keys for {KEY_TTL} s: give more notice"
        ));
    }
    let (zone, mut keys) = place.keys()?;
    if keys
        .iter()
        .any(|stored| !stored.key.timing.is_active(now) && stored.key.timing.delete.is_none())
    {
        return Err(format!(
            "zone {zone} is being rolled: end that with `dnsd key roll {zone} --finish`"
        ));
    }
    let at = UnixTime(now.0.saturating_add(notice));
    let timing = Timing {
        publish: now,
        activate: at,
        sync_publish: Some(at),
        ..Timing::at_once(now)
    };
    let made = place.new_key(zone, &keys, timing, now)?;
    let olds = keys
        .iter_mut()
        .filter(|stored| stored.key.timing.is_active(now));
    let mut old = false;
    // The new one first: one key too many hurts nobody.
    made.write(zone).map_err(|error| error.to_string())?;
    for stored in olds {
        stored.key.timing.inactive = Some(at);
        stored.key.timing.sync_delete = Some(at);
        stored.write(zone).map_err(|error| error.to_string())?;
        old = true;
    }
    if !old {
        return Err(format!(
            "zone {zone} has no active key: make one with `dnsd key generate {zone}`"
        ));
    }
    keys.push(made);
    Ok(told(
        zone,
        &keys,
        now,
        &format!(
            "copy the files to every nameserver and reload each before {}; from then on put the new DS record \
         in the place of the old one, then `dnsd key roll {zone} --finish`",
            stamp(at)
        ),
    ))
}

fn finish(place: &Place, now: UnixTime, ds_ttl: u64) -> Result<Value, String> {
    let (zone, mut keys) = place.keys()?;
    let signs =
        |stored: &Stored| stored.key.timing.is_active(now) && stored.key.timing.inactive.is_none();
    if !keys.iter().any(signs) {
        return Err(format!("the new key of zone {zone} does not sign yet"));
    }
    let at = UnixTime(now.0.saturating_add(ds_ttl.max(u64::from(KEY_TTL))));
    let over = |stored: &&mut Stored| {
        stored.key.timing.inactive.is_some() && stored.key.timing.delete.is_none()
    };
    let mut any = false;
    for stored in keys.iter_mut().filter(over) {
        stored.key.timing.delete = Some(at);
        stored.write(zone).map_err(|error| error.to_string())?;
        any = true;
    }
    if !any {
        return Err(format!("zone {zone} has no key that was replaced"));
    }
    Ok(told(
        zone,
        &keys,
        now,
        &format!(
            "copy the files to every nameserver and reload each; the old key goes by itself at {}, and its files \
         may be removed after that",
            stamp(at)
        ),
    ))
}

fn told(zone: &Name, keys: &[Stored], now: UnixTime, next: &str) -> Value {
    let keys: Vec<_> = keys
        .iter()
        .map(|stored| described(zone, stored, now))
        .collect();
    json!({ "keys": keys, "next": next })
}

fn list(place: &Place, now: UnixTime) -> Result<Value, String> {
    let mut keys = Vec::new();
    for zone in &place.zones {
        let stored = store::list(&place.directory, zone).map_err(|error| error.to_string())?;
        keys.extend(stored.iter().map(|stored| described(zone, stored, now)));
    }
    Ok(json!({ "keys": keys, "next": null }))
}

fn described(zone: &Name, stored: &Stored, now: UnixTime) -> Value {
    let (key, timing) = (&stored.key, &stored.key.timing);
    let part = if timing.delete.is_some_and(|at| at <= now) {
        "removed"
    } else if timing.is_active(now) {
        "active"
    } else if timing.is_published(now) && timing.activate <= now {
        "retired"
    } else if timing.is_published(now) {
        "published"
    } else {
        "waiting"
    };
    let at = |at: Option<UnixTime>| at.filter(|at| *at != NEVER).map(|at| at.0);
    let digest = key.digest(zone);
    let digest = digest.iter().map(|byte| format!("{byte:02X}"));
    json!({
        "zone": zone.to_string(),
        "tag": key.tag(),
        "part": part,
        "publish": at(Some(timing.publish)),
        "activate": at(Some(timing.activate)),
        "inactive": at(timing.inactive),
        "delete": at(timing.delete),
        "announced": timing.is_announced(now),
        "created": at(stored.created()),
        "file": stored.path.display().to_string(),
        "ds": format!("{zone} IN DS {} 13 2 {}", key.tag(), digest.collect::<String>()),
    })
}

/// The keys as a table.
fn keys(value: &Value) -> String {
    let heads = [
        "ZONE",
        "TAG",
        "PART",
        "SIGNS FROM",
        "SIGNS UNTIL",
        "GOES",
        "PARENT",
    ];
    let mut rows = vec![heads.map(str::to_owned)];
    let when = |at: &Value| {
        at.as_u64()
            .map_or_else(|| "-".to_owned(), |at| stamp(UnixTime(at)))
    };
    for key in value["keys"].as_array().into_iter().flatten() {
        let announced = key["announced"] == true;
        rows.push([
            text(&key["zone"]),
            text(&key["tag"]),
            text(&key["part"]),
            when(&key["activate"]),
            when(&key["inactive"]),
            when(&key["delete"]),
            if announced { "asked for its DS" } else { "-" }.to_owned(),
        ]);
    }
    let mut out = String::new();
    table(&rows, &mut out);
    if let Some(next) = value["next"].as_str() {
        out = format!("{out}\nnext: {next}\n");
    }
    out
}

/// The DS records of the keys that the parent is asked for.
fn records(value: &Value) -> String {
    let keys = value["keys"].as_array().into_iter().flatten();
    let asked = keys.filter(|key| key["announced"] == true);
    asked.map(|key| text(&key["ds"]) + "\n").collect()
}
