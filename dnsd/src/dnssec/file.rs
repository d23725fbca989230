//! One key as a pair of files, `Kzone.+013+tag.private` and `.key`, as BIND's and other tools write
//! and read them (private key format v1.3).

use std::fmt::{self, Write as _};
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use aws_lc_rs::encoding::{AsBigEndian as _, EcPrivateKeyBin};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use credentials::UnixTime;
use dnsd_core::dnssec::{KEY_TTL, Key, Signer, Timing};
use hickory_proto::dnssec::PublicKey as _;
use hickory_proto::rr::Name;
use time::{Date, Month, OffsetDateTime, PrimitiveDateTime, Time};
use zeroize::Zeroizing;

use crate::limits::KEY_FILE_BYTES;

/// A moment that never comes: that of a part which a key does not have.
pub const NEVER: UnixTime = UnixTime(u64::MAX);
/// Users other than the daemon's.
const OTHERS: u32 = 0o077;

/// Why a key cannot be had of its files.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file cannot be read or written.
    #[error("{0}: {1}")]
    Io(PathBuf, io::Error),
    /// Others may read the private key.
    #[error("{path} is open to others (mode {mode:04o}): run: chmod 0600 {path}", path = .0.display(), mode = .1)]
    Open(PathBuf, u32),
    /// A file is not what it should be.
    #[error("{0}: {1}")]
    Wrong(PathBuf, &'static str),
    /// The system does not make a key.
    #[error("no key can be made")]
    Generate,
}

/// A private key in memory. The library erases it when it is dropped, and nothing prints it.
struct Pair {
    pair: EcdsaKeyPair,
    public: [u8; 64],
}

impl fmt::Debug for Pair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Pair(..)")
    }
}

impl Signer for Pair {
    fn public_key(&self) -> [u8; 64] {
        self.public
    }

    fn sign(&self, data: &[u8]) -> Option<[u8; 64]> {
        let signature = self.pair.sign(&SystemRandom::new(), data).ok()?;
        signature.as_ref().try_into().ok()
    }
}

/// A key with its files.
#[derive(Debug)]
pub struct Stored {
    /// The key.
    pub key: Key,
    /// Where its private half lies.
    pub path: PathBuf,
    /// The lines of that file, by name; others than ours are kept.
    fields: Vec<(String, Zeroizing<String>)>,
}

impl Stored {
    /// Makes a new key for a zone; it has no files yet.
    ///
    /// # Errors
    /// If the system has no randomness.
    pub fn generate(
        directory: &Path,
        zone: &Name,
        timing: Timing,
        now: UnixTime,
    ) -> Result<Self, Error> {
        let made = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING);
        let pair = made.map_err(|_| Error::Generate)?;
        let private: EcPrivateKeyBin<'_> = pair
            .private_key()
            .as_be_bytes()
            .map_err(|_| Error::Generate)?;
        let encoded = Zeroizing::new(STANDARD.encode(private.as_ref()));
        let public = point(&pair).ok_or(Error::Generate)?;
        let key = Key::new(Arc::new(Pair { pair, public }), timing);
        let plain = |text: &str| Zeroizing::new(text.to_owned());
        let fields = vec![
            ("Private-key-format".to_owned(), plain("v1.3")),
            ("Algorithm".to_owned(), plain("13 (ECDSAP256SHA256)")),
            ("PrivateKey".to_owned(), encoded),
            ("Created".to_owned(), plain(&stamp(now))),
        ];
        let path = directory.join(format!("{}.private", base(zone, key.tag())));
        Ok(Self { key, path, fields })
    }

    /// Reads a key from its two files.
    ///
    /// # Errors
    /// If they are not those of a key of this zone that nobody else can read.
    pub fn read(path: &Path, zone: &Name) -> Result<Self, Error> {
        let wrong = |what| Error::Wrong(path.to_owned(), what);
        let text = guarded(path)?;
        let fields: Vec<_> = text
            .lines()
            .filter_map(|line| line.split_once(':'))
            .map(|(name, value)| {
                (
                    name.trim().to_owned(),
                    Zeroizing::new(value.trim().to_owned()),
                )
            })
            .collect();
        let field = |name: &str| {
            let found = fields.iter().find(|(own, _)| own == name);
            found.map(|(_, value)| value.as_str())
        };
        if field("Private-key-format").is_none_or(|format| !format.starts_with("v1.")) {
            return Err(wrong("it has no `Private-key-format: v1.3`"));
        }
        if field("Algorithm").and_then(|text| text.split(' ').next()) != Some("13") {
            return Err(wrong("its algorithm is not 13 (ECDSAP256SHA256)"));
        }
        let private = field("PrivateKey").and_then(|text| STANDARD.decode(text).ok());
        let private = Zeroizing::new(private.ok_or_else(|| wrong("it has no `PrivateKey`"))?);
        let timing =
            timing(&field).ok_or_else(|| wrong("a time is not written as YYYYMMDDHHMMSS"))?;
        let public = public(&path.with_extension("key"))?;
        let point = [&[4], &public[..]].concat();
        let pair = EcdsaKeyPair::from_private_key_and_public_key(
            &ECDSA_P256_SHA256_FIXED_SIGNING,
            &private,
            &point,
        );
        let pair = pair.map_err(|_| wrong("it does not belong to the .key file beside it"))?;
        let key = Key::new(Arc::new(Pair { pair, public }), timing);
        let named = path
            .file_stem()
            .is_some_and(|stem| *stem == *base(zone, key.tag()));
        if !named {
            return Err(wrong("its name is not that of its zone and key tag"));
        }
        Ok(Self {
            key,
            path: path.to_owned(),
            fields,
        })
    }

    /// Writes both files, each whole or not at all.
    ///
    /// # Errors
    /// What the system says.
    pub fn write(&self, zone: &Name) -> Result<(), Error> {
        let mut text = Zeroizing::new(String::new());
        for (name, value) in &self.fields {
            if !TIMES.contains(&name.as_str()) {
                let _ = write!(*text, "{name}: ");
                *text += value;
                text.push('\n');
            }
        }
        let mut notes = format!(
            "; This is a key-signing key, keyid {}, for {zone}\n",
            self.key.tag()
        );
        for (name, at) in TIMES.into_iter().zip(times(&self.key.timing)) {
            if let Some(at) = at.filter(|at| *at != NEVER) {
                let _ = writeln!(*text, "{name}: {}", stamp(at));
                let _ = writeln!(notes, "; {name}: {}", stamp(at));
            }
        }
        let public = STANDARD.encode(self.key.dnskey().public_key().public_bytes());
        let _ = writeln!(notes, "{zone} {KEY_TTL} IN DNSKEY 257 3 13 {public}");
        replace(&self.path.with_extension("key"), notes.as_bytes(), 0o644)?;
        replace(&self.path, text.as_bytes(), 0o600)
    }

    /// When it was made, if the file says so.
    pub fn created(&self) -> Option<UnixTime> {
        let created = self.fields.iter().find(|(name, _)| name == "Created");
        created.and_then(|(_, text)| moment(text))
    }
}

/// The names of the moments in a key's life, in the order of [`times`].
const TIMES: [&str; 6] = [
    "Publish",
    "Activate",
    "Inactive",
    "Delete",
    "SyncPublish",
    "SyncDelete",
];

fn times(timing: &Timing) -> [Option<UnixTime>; 6] {
    [
        Some(timing.publish),
        Some(timing.activate),
        timing.inactive,
        timing.delete,
        timing.sync_publish,
        timing.sync_delete,
    ]
}

/// `None` if one is there and not understood.
fn timing<'a>(field: &dyn Fn(&str) -> Option<&'a str>) -> Option<Timing> {
    let mut times = [None; 6];
    for (at, name) in times.iter_mut().zip(TIMES) {
        if let Some(text) = field(name) {
            *at = Some(moment(text)?);
        }
    }
    let [
        publish,
        activate,
        inactive,
        delete,
        sync_publish,
        sync_delete,
    ] = times;
    Some(Timing {
        publish: publish.unwrap_or(NEVER),
        activate: activate.unwrap_or(NEVER),
        inactive,
        delete,
        sync_publish,
        sync_delete,
    })
}

/// Both coordinates of the public key.
fn point(pair: &EcdsaKeyPair) -> Option<[u8; 64]> {
    // An uncompressed point begins with a 4 (SEC 1 section 2.3.3).
    pair.public_key()
        .as_ref()
        .strip_prefix(&[4])?
        .try_into()
        .ok()
}

/// What the files of a key are called, without their endings.
pub fn base(zone: &Name, tag: u16) -> String {
    let zone = zone.to_lowercase().to_ascii();
    format!("K{zone}+013+{tag:05}")
}

fn public(path: &Path) -> Result<[u8; 64], Error> {
    let wrong = |what| Error::Wrong(path.to_owned(), what);
    let text = fs::read_to_string(path).map_err(|error| Error::Io(path.to_owned(), error))?;
    let mut lines = text.lines().filter(|line| !line.starts_with(';'));
    let record = lines.find(|line| !line.trim().is_empty());
    let mut words = record.unwrap_or_default().split_whitespace();
    if !words.any(|word| word == "DNSKEY") {
        return Err(wrong("it has no DNSKEY record"));
    }
    if [words.next(), words.next(), words.next()] != [Some("257"), Some("3"), Some("13")] {
        return Err(wrong("its DNSKEY record does not begin with 257 3 13"));
    }
    let decoded = STANDARD.decode(words.collect::<String>()).ok();
    let key = decoded.and_then(|key| key.try_into().ok());
    key.ok_or_else(|| wrong("its key has no 64 bytes"))
}

/// The text of a file that nobody but its owner can read.
fn guarded(path: &Path) -> Result<Zeroizing<String>, Error> {
    let io = |error| Error::Io(path.to_owned(), error);
    let file = File::open(path).map_err(io)?;
    // Of the open file, so that it cannot be exchanged between the check and the reading.
    let mode = file.metadata().map_err(io)?.permissions().mode() & 0o777;
    if mode & OTHERS != 0 {
        return Err(Error::Open(path.to_owned(), mode));
    }
    let mut text = Zeroizing::new(String::with_capacity(KEY_FILE_BYTES));
    let most = KEY_FILE_BYTES as u64;
    file.take(most).read_to_string(&mut text).map_err(io)?;
    Ok(text)
}

fn replace(path: &Path, text: &[u8], mode: u32) -> Result<(), Error> {
    let io = |error| Error::Io(path.to_owned(), error);
    let fresh = path.with_extension(if mode == 0o600 {
        "private.new"
    } else {
        "key.new"
    });
    // One that was left behind might be open to others.
    let _ = fs::remove_file(&fresh);
    let mut options = OpenOptions::new();
    let options = options.write(true).create_new(true).mode(mode);
    let mut file = options.open(&fresh).map_err(io)?;
    file.write_all(text).map_err(io)?;
    file.sync_all().map_err(io)?;
    fs::rename(&fresh, path).map_err(io)?;
    let directory = path
        .parent()
        .filter(|parent| !parent.as_os_str().is_empty());
    let directory = File::open(directory.unwrap_or_else(|| Path::new(".")));
    directory
        .and_then(|directory| directory.sync_all())
        .map_err(io)
}

/// A moment as the files have it: YYYYMMDDHHMMSS, UTC.
pub fn stamp(at: UnixTime) -> String {
    let at = i64::try_from(at.0).ok();
    let at = at.and_then(|at| OffsetDateTime::from_unix_timestamp(at).ok());
    let at = at.unwrap_or(OffsetDateTime::UNIX_EPOCH);
    format!(
        "{:04}{:02}{:02}{:02}{:02}{:02}",
        at.year(),
        u8::from(at.month()),
        at.day(),
        at.hour(),
        at.minute(),
        at.second()
    )
}

fn moment(text: &str) -> Option<UnixTime> {
    // BIND may say the same in words behind it.
    let digits = text.split(' ').next()?;
    let plain = digits.len() == 14 && digits.bytes().all(|byte| byte.is_ascii_digit());
    let number = |range: std::ops::Range<usize>| digits.get(range)?.parse::<u8>().ok();
    let year = digits.get(0..4).filter(|_| plain)?.parse().ok()?;
    let month = Month::try_from(number(4..6)?).ok()?;
    let date = Date::from_calendar_date(year, month, number(6..8)?).ok()?;
    let time = Time::from_hms(number(8..10)?, number(10..12)?, number(12..14)?).ok()?;
    let at = PrimitiveDateTime::new(date, time).assume_utc();
    u64::try_from(at.unix_timestamp()).ok().map(UnixTime)
}
