//! No secret shows in what the relay writes: a whole life at the most talkative log level, searched
//! for every secret in every form.

use std::fmt::Write as _;
use std::fs;
use std::process::Command;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE, URL_SAFE_NO_PAD};
use cluster_tests::binaries;
use cluster_tests::rogue::{Client, Transport};
use cluster_tests::stun::{long_term_key, long_term_key_sha256, rest_password_bytes};
use cluster_tests::turnd::{API_KEY, REALM, REST, SECRET, Setup, Turnd, certificate, credential};
use nix::sys::signal::Signal;

const ROTATED: &str = "rotated-in-rotated-in-rotated-in";
const NONCE_KEY: &str = "nonces-under-test-nonces-under-te";
const LABEL_KEY: &str = "labels-under-test-labels-under-te";
const REPORT_KEY: &str = "reports-under-test-reports-under-t";
/// A secret that a file with a mistake holds.
const MISTAKEN: &str = "mistaken-mistaken-mistaken-mista";

/// No relay's.
const WRONG_API_KEY: &str = "not-the-key-at-all-not-the-key-at";
/// What may be wrong in the line that holds a secret.
const MISTAKES: [&str; 10] = [
    "current = \"MISTAKEN",
    "current = \"MISTAKEN\" \"MISTAKEN\"\n",
    "curent = \"MISTAKEN\"\n",
    "current = [\"MISTAKEN\"]\n",
    "current = { a = \"MISTAKEN\" }\n",
    "current = \"MISTAKEN\"\ncurrent = \"MISTAKEN\"\n",
    "current = \"MISTAKEN\"\nprevious = [\"MISTAKEN\"]\n",
    "current = \"MISTAKEN\"\nprevious = \"MISTAKEN\"\n",
    "current = \"mistaken-mista\"\n",
    "current = \"\\q MISTAKEN\"\n",
];

/// Something that must not show, with what it is.
struct Secret {
    name: String,
    bytes: Vec<u8>,
}

impl Secret {
    fn new(name: &str, bytes: impl AsRef<[u8]>) -> Self {
        Self {
            name: name.to_owned(),
            bytes: bytes.as_ref().to_vec(),
        }
    }

    /// Every way to write it down.
    fn forms(&self) -> Vec<(&'static str, String)> {
        let bytes = &self.bytes;
        let hex: String = bytes.iter().fold(String::new(), |mut text, byte| {
            let _ = write!(text, "{byte:02x}");
            text
        });
        let list: Vec<_> = bytes.iter().take(8).map(u8::to_string).collect();
        let mut forms = vec![
            ("base64", STANDARD_NO_PAD.encode(bytes)),
            ("base64url", URL_SAFE_NO_PAD.encode(bytes)),
            (
                "base64 of base64",
                STANDARD_NO_PAD.encode(STANDARD.encode(bytes)),
            ),
            ("base64 with padding", STANDARD.encode(bytes)),
            ("base64url with padding", URL_SAFE.encode(bytes)),
            ("hex", hex.clone()),
            ("HEX", hex.to_uppercase()),
            ("list of numbers", list.join(", ")),
            ("escapes", bytes.escape_ascii().to_string()),
        ];
        if let Ok(text) = std::str::from_utf8(bytes) {
            forms.push(("text", text.to_owned()));
            // A good part of it is as bad.
            forms.push((
                "its first half",
                text.chars().take(text.len() / 2).collect(),
            ));
        }
        forms
    }
}

/// Which of `secrets` show in `text`, and how.
fn leaks(text: &str, secrets: &[Secret]) -> Vec<String> {
    let shows = |secret: &Secret| {
        let found = secret
            .forms()
            .into_iter()
            .find(|(_, form)| text.contains(form.as_str()));
        found.map(|(how, _)| format!("{} as {how}", secret.name))
    };
    secrets.iter().filter_map(shows).collect()
}

/// The keys and passwords that follow from a credential.
fn of_credential(username: &str, password: &str) -> Vec<Secret> {
    vec![
        Secret::new("a password", password),
        Secret::new(
            "a password's bytes",
            STANDARD.decode(password).expect("base64"),
        ),
        Secret::new("a key", long_term_key(username, REALM, password)),
        Secret::new(
            "a SHA-256 key",
            long_term_key_sha256(username, REALM, password),
        ),
    ]
}

/// The key of nonces that follows from a secret.
fn derived(secret: &str, format: &str) -> Vec<u8> {
    // Its HMAC-SHA256 of this text; OpenSSL computes it.
    let mut command = Command::new("openssl");
    command.args([
        "dgst",
        "-sha256",
        "-mac",
        "HMAC",
        "-macopt",
        &format!("key:{secret}"),
        "-binary",
    ]);
    let file = binaries::scratch(&format!("secrets-derived-{format}")).join("text");
    fs::write(&file, "turnfleet nonce key 1").expect("a file");
    let output = command.arg(&file).output().expect("openssl runs");
    let _ = fs::remove_dir_all(file.parent().expect("a directory"));
    assert_eq!(output.stdout.len(), 32);
    output.stdout
}

/// A username and a password from the REST endpoint.
fn issued(turnd: &Turnd, key: &str) -> Option<(String, String)> {
    let url = format!("http://{}:{REST}/v1/credentials?user=ann", turnd.ip);
    let answer = ureq::get(url)
        .header("Authorization", format!("Bearer {key}"))
        .call();
    let body: serde_json::Value = answer.ok()?.body_mut().read_json().ok()?;
    let text = |key: &str| Some(body.pointer(key)?.as_str()?.to_owned());
    Some((
        text("/iceServers/0/username")?,
        text("/iceServers/0/credential")?,
    ))
}

/// A relay, and all that must not show of it.
struct Life {
    setup: Setup,
    turnd: Turnd,
    secrets: Vec<Secret>,
    clients: Vec<Client>,
}

impl Life {
    fn begin(format: &str) -> Self {
        let mut setup = Setup::loopback(&format!("secrets-{format}"));
        setup.log = format!("level = \"trace\"\nformat = \"{format}\"\n");
        let keys = format!("nonce_key = \"{NONCE_KEY}\"\nlabel_key = \"{LABEL_KEY}\"\n");
        setup.secrets.push_str(&keys);
        let reports = format!(
            "[liveness]\nkey_id = 1\nkey = \"{REPORT_KEY}\"\ndnsd = [\"{}:5301\"]\n",
            setup.ips[0]
        );
        setup.sections.push_str(&reports);
        "drain_grace = \"1s\"\n".clone_into(&mut setup.relay);
        let mut secrets: Vec<_> = [
            ("secrets.current", SECRET),
            ("the rotated secret", ROTATED),
            ("secrets.nonce_key", NONCE_KEY),
            ("secrets.label_key", LABEL_KEY),
            ("the API key", API_KEY),
            ("a wrong API key", WRONG_API_KEY),
            ("liveness.key", REPORT_KEY),
            ("a mistaken secret", MISTAKEN),
        ]
        .iter()
        .map(|(name, text)| Secret::new(name, text))
        .collect();
        // Of a PEM, a line is a secret.
        let pem = certificate()
            .1
            .lines()
            .filter(|line| !line.starts_with("---"));
        secrets.extend(pem.map(|line| Secret::new("the key of TLS", line)));
        secrets.push(Secret::new("the key of nonces", derived(NONCE_KEY, format)));
        let turnd = setup.start();
        Self {
            setup,
            turnd,
            secrets,
            clients: Vec::new(),
        }
    }

    fn client(&mut self, transport: Transport, login: (String, String)) -> Client {
        self.secrets.extend(of_credential(&login.0, &login.1));
        let ip = self.turnd.ip;
        let client = Client::open(transport, self.turnd.turn(), Some(ip), login);
        let mut client = client.expect("it connects");
        client.allocated(ip);
        client
    }

    /// Clients of two kinds, over every transport, do all there is to do, also with a wrong password.
    fn traffic(&mut self) {
        let good = issued(&self.turnd, API_KEY).expect("a credential");
        assert_eq!(issued(&self.turnd, WRONG_API_KEY), None);
        let peer = std::net::UdpSocket::bind((self.turnd.ip, 0)).expect("a socket");
        let address = peer.local_addr().expect("it is bound");
        for transport in Transport::ALL {
            for login in [good.clone(), credential(SECRET, "bob")] {
                let mut client = self.client(transport, login);
                assert_eq!(client.permit(&[address.ip()]), 0);
                assert_eq!(client.bind(0x4000, address), 0);
                client.channel_data(0x4000, b"through a channel");
                client.indicate(address, b"by indication");
                assert_eq!(client.refresh(600), 0);
                let wrong = rest_password_bytes(b"a wrong secret", &client.username);
                let wrong = STANDARD.encode(wrong);
                self.secrets.push(Secret::new("a wrong password", &wrong));
                let name = client.username.clone();
                client.log_in((name, wrong));
                assert_eq!(client.refresh(600), 401);
                self.clients.push(client);
            }
        }
    }

    /// A reload that rotates, one that revokes, and files with mistakes in the lines of secrets.
    fn reloads(&mut self) {
        let current = format!("current = \"{SECRET}\"\n");
        let rotated = format!("current = \"{ROTATED}\"\nprevious = [\"{SECRET}\"]\n");
        let good = self.setup.text().replace(&current, &rotated);
        self.turnd.reload(&good);
        let fresh = self.client(Transport::Udp, credential(ROTATED, "eve"));
        let left = 1 + self.clients.len() as u64 / 2;
        self.clients.push(fresh);
        let revoked = format!("{good}\n[revocations]\nusers = [\"bob\"]\n");
        self.turnd.reload(&revoked);
        self.turnd
            .metric_becomes("sessions", |sessions| sessions == left);
        for mistake in MISTAKES {
            let refused = self.turnd.metric("config_reloads_refused_total");
            let mistake = mistake.replace("MISTAKEN", MISTAKEN);
            let text = self.setup.text().replace(&current, &mistake);
            fs::write(self.turnd.config(), text).expect("a file is written");
            self.turnd.signal(Signal::SIGHUP);
            let refusals = |now| now > refused;
            self.turnd
                .metric_becomes("config_reloads_refused_total", refusals);
        }
    }

    /// All that somebody with a view can read, and what of it must not be there. It ends here.
    fn end(mut self) -> (String, Vec<Secret>) {
        let turnd = &mut self.turnd;
        let check = Command::new(binaries::directory().join("turnd"))
            .args(["check", "--config"])
            .arg(turnd.config())
            .output()
            .expect("turnd runs");
        assert!(!check.status.success());
        let mut text = String::from_utf8_lossy(&check.stdout).into_owned();
        text += &String::from_utf8_lossy(&check.stderr);
        for file in ["cmdline", "environ"] {
            let path = format!("/proc/{}/{file}", turnd.pid());
            text += &fs::read_to_string(path).expect("procfs");
        }
        for page in ["/metrics", "/readyz", "/healthz", "/"] {
            text += &turnd.get(page).expect("it answers").1;
        }
        turnd.signal(Signal::SIGTERM);
        turnd.ended();
        let log = turnd.log();
        assert!(!log.contains("panicked"), "{log}");
        assert!(log.contains("TRACE"), "not at its most talkative");
        (text + &log, self.secrets)
    }
}

fn nothing_shows(format: &str) {
    let mut life = Life::begin(format);
    life.traffic();
    life.reloads();
    let (text, secrets) = life.end();
    assert_eq!(leaks(&text, &secrets), Vec::<String>::new(), "in:\n{text}");
    // The search itself: each form of each secret, planted in the middle, is found.
    let middle = text
        .char_indices()
        .nth(text.chars().count() / 2)
        .expect("a text")
        .0;
    let mut planted = 0;
    for secret in &secrets {
        for (how, form) in secret.forms() {
            let text = format!("{}{form}{}", &text[..middle], &text[middle..]);
            let found = leaks(&text, std::slice::from_ref(secret));
            assert_eq!(found.len(), 1, "{} as {how} was not found", secret.name);
            planted += 1;
        }
    }
    println!(
        "measured secrets, {format}: {} bytes of log and pages, {} secrets, 0 show; {planted} planted \
         and found",
        text.len(),
        secrets.len()
    );
}

#[test]
fn nothing_shows_in_text() {
    nothing_shows("text");
}

#[test]
fn nothing_shows_in_json() {
    nothing_shows("json");
}
