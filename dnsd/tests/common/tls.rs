//! Certificates for a test's nameserver, and a client of DNS over TLS.

use std::fs;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::fs::PermissionsExt as _;
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

use super::dnsd::Server;
use super::{free_port, wait_for, write};

/// The name in the certificates.
pub(crate) const NAME: &str = "ns1.turn.example";
/// `turn.example A` with EDNS and no id.
pub(crate) const QUERY: &[u8] =
    b"\x00\x00\x01\x00\x00\x01\x00\x00\x00\x00\x00\x01\x04turn\x07example\x00\
\x00\x01\x00\x01\x00\x00\x29\x10\x00\x00\x00\x00\x00\x00\x00";

/// [`QUERY`] with these EDNS options: code and content.
pub(crate) fn with_options(options: &[(u16, &[u8])]) -> Vec<u8> {
    let mut data = Vec::new();
    for (code, content) in options {
        data.extend_from_slice(&code.to_be_bytes());
        data.extend_from_slice(&u16::try_from(content.len()).expect("short").to_be_bytes());
        data.extend_from_slice(content);
    }
    let length = u16::try_from(data.len()).expect("short").to_be_bytes();
    [&QUERY[..QUERY.len() - 2], &length, &data].concat()
}

/// A nameserver on `127.0.9.<host>` that speaks DNS over TLS and QUIC too.
pub(crate) struct Encrypted {
    pub(crate) server: Server,
    /// Of both.
    pub(crate) port: u16,
    /// What it shows.
    pub(crate) certificate: CertificateDer<'static>,
}

impl Encrypted {
    pub(crate) fn start(host: u8) -> Self {
        Self::start_with(host, |_| {})
    }

    /// The same with more in its configuration.
    pub(crate) fn start_with(host: u8, more: impl FnOnce(&mut Server)) -> Self {
        let relay = super::dnsd::listed("fra-1", "eu-a", "alpha", 1);
        let mut server = Server::new(host, vec![relay]);
        let port = free_port(server.ip);
        let at = format!("[\"{}:{port}\"]", server.ip);
        server.more = format!(
            "[tls]\ndot = {at}\ndoq = {at}\ncertificate = \"cert.pem\"\nkey = \"key.pem\"\n"
        );
        let certificate = renew(&server);
        more(&mut server);
        Self {
            server: server.start(),
            port,
            certificate,
        }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        (self.server.ip, self.port).into()
    }

    /// `kdig` at one of the encrypted listeners: its whole output.
    pub(crate) fn kdig(&self, args: &[&str]) -> String {
        let output = std::process::Command::new("kdig")
            .arg(format!("@{}", self.server.ip))
            .args(["-p", &self.port.to_string(), "+retry=0", "+time=3"])
            .args(args)
            .output()
            .expect("kdig runs");
        let said = [output.stdout, output.stderr].concat();
        String::from_utf8_lossy(&said).into_owned()
    }

    /// Waits until so many are counted: an answer may be there before it is.
    pub(crate) fn wait_counted(&self, name: &str, labels: &str, count: i64) {
        let what = format!("{name} of {labels} to be {count}");
        wait_for(&what, Duration::from_secs(5), || {
            (self.counted(name, labels) == count).then_some(())
        });
    }

    pub(crate) fn counted(&self, name: &str, labels: &str) -> i64 {
        let metric = format!("turnfleet_dnsd_{name}{{{labels}}}");
        self.server.metric(&metric).unwrap_or_default() as i64
    }
}

/// Puts a new certificate and its key where the configuration names them.
pub(crate) fn renew(server: &Server) -> CertificateDer<'static> {
    let made = rcgen::generate_simple_self_signed([NAME.to_owned()]).expect("a certificate");
    write(&server.path("cert.pem"), &made.cert.pem());
    write(&server.path("key.pem"), &made.signing_key.serialize_pem());
    let private = fs::Permissions::from_mode(0o600);
    fs::set_permissions(server.path("key.pem"), private).expect("mode");
    made.cert.der().clone()
}

/// How a client shakes hands that trusts this certificate.
pub(crate) fn trusting(certificate: &CertificateDer<'static>, protocol: &[u8]) -> ClientConfig {
    let mut roots = RootCertStore::empty();
    roots.add(certificate.clone()).expect("a root");
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![protocol.to_vec()];
    config
}

/// A connection of DNS over TLS.
pub(crate) struct Client(pub(crate) StreamOwned<ClientConnection, TcpStream>);

impl Client {
    pub(crate) fn over(
        stream: TcpStream,
        certificate: &CertificateDer<'static>,
    ) -> io::Result<Self> {
        stream.set_read_timeout(Some(Duration::from_secs(15)))?;
        let config = Arc::new(trusting(certificate, b"dot"));
        let name = ServerName::try_from(NAME).expect("a name");
        let connection = ClientConnection::new(config, name).expect("a client");
        let mut stream = StreamOwned::new(connection, stream);
        stream.flush()?;
        while stream.conn.is_handshaking() {
            stream.conn.complete_io(&mut stream.sock)?;
        }
        Ok(Self(stream))
    }

    pub(crate) fn send(&mut self, message: &[u8]) -> io::Result<()> {
        self.0.write_all(&framed(message))
    }

    pub(crate) fn read(&mut self) -> io::Result<Vec<u8>> {
        let mut length = [0; 2];
        self.0.read_exact(&mut length)?;
        let mut message = vec![0; usize::from(u16::from_be_bytes(length))];
        self.0.read_exact(&mut message)?;
        Ok(message)
    }

    pub(crate) fn ask(&mut self, message: &[u8]) -> io::Result<Vec<u8>> {
        self.send(message)?;
        self.read()
    }
}

/// A message as streams carry it.
pub(crate) fn framed(message: &[u8]) -> Vec<u8> {
    let length = u16::try_from(message.len()).expect("short");
    [&length.to_be_bytes(), message].concat()
}
