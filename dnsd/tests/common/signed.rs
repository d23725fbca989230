//! A signed zone with its keys, made by the daemon's own commands.

use super::dnsd::{Server, ZONE, listed};
use super::write;

const RECORDS: &str = "\
$TTL 60
text        TXT   \"plain\"
POST        MX    10 Mail.Elsewhere.Example.
alias       CNAME a
chain       CNAME alias
dangling    CNAME missing
*.wild      TXT   \"any\"
*.wild      A     192.0.2.9
deep.non.empty TXT \"below\"
cut         NS    ns.cut
ns.cut      A     192.0.2.53
safe        NS    ns.elsewhere.example.
safe        DS    12345 13 2 0000000000000000000000000000000000000000000000000000000000000001
big         TXT   ( \"0123456789012345678901234567890123456789012345678901234567890123456789\"
                    \"0123456789012345678901234567890123456789012345678901234567890123456789\" )
";

/// A server whose zones are signed, and one that is not.
pub(crate) fn signed(host: u8) -> Server {
    keyed(host).start()
}

/// The same before it runs.
pub(crate) fn keyed(host: u8) -> Server {
    let relays = vec![
        listed("fra-1", "eu-a", "alpha", 1),
        listed("ams-1", "eu-b", "beta", 2),
        listed("par-1", "eu-c", "gamma", 3),
    ];
    let mut server = Server::new(host, relays);
    write(&server.path("turn.zone"), RECORDS);
    write(&server.path("bare.zone"), "www 60 A 192.0.2.80\n");
    std::fs::create_dir(server.path("keys")).expect("directory");
    server.zone += "records = \"turn.zone\"";
    server.more += "[dnssec]\nkeys = \"keys\"\nunsigned = [\"bare.example\"]\n\
                   [[zones]]\nname = \"bare.example\"\nsteered = false\nrecords = \"bare.zone\"\n";
    server.configure();
    server.json(&["key", "generate"]);
    server
}

/// The DS records that are to stand in the parent zone.
pub(crate) fn ds(server: &Server) -> Vec<String> {
    let output = server.cli(&["key", "ds", ZONE]);
    assert!(output.status.success());
    let text = String::from_utf8(output.stdout).expect("text");
    text.lines().map(str::to_owned).collect()
}
