//! BIND's `dig` as the judge of what a name server answers.

use std::net::{IpAddr, SocketAddrV4};
use std::process::Command;

/// What dig printed of one answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// Response code in capitals, such as `NOERROR`.
    pub status: String,
    /// Flags of the header in lower case.
    pub flags: Vec<String>,
    /// Addresses of the answer section, in order.
    pub addresses: Vec<IpAddr>,
    /// TTLs of the answer section, in order.
    pub ttls: Vec<u32>,
}

/// Asks `server` for the A records of `name`.
///
/// # Panics
/// When dig does not run or gets no answer.
pub fn dig(server: SocketAddrV4, name: &str) -> Answer {
    let output = Command::new("dig")
        .args([
            &format!("@{}", server.ip()),
            "-p",
            &server.port().to_string(),
        ])
        .args(["+tries=1", "+time=2", "+nocookie", name, "A"])
        .output()
        .expect("dig runs");
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "dig @{server} {name}: {text}");
    parse(&text).unwrap_or_else(|| panic!("dig @{server} {name}: {text}"))
}

fn parse(text: &str) -> Option<Answer> {
    let after = |mark: &str| text.split_once(mark).map(|(_, rest)| rest);
    let status = after("status: ")?.split(',').next()?.to_owned();
    let flags = after("flags: ")?.split(';').next()?;
    let section = after(";; ANSWER SECTION:\n").unwrap_or_default();
    let records = section
        .lines()
        .take_while(|line| !line.is_empty())
        .filter_map(|line| {
            let mut fields = line.split_whitespace();
            let ttl: u32 = fields.nth(1)?.parse().ok()?;
            let address: IpAddr = fields.nth(2)?.parse().ok()?;
            Some((address, ttl))
        });
    let (addresses, ttls) = records.unzip();
    let flags = flags.split_whitespace().map(str::to_owned).collect();
    Some(Answer {
        status,
        flags,
        addresses,
        ttls,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_dig_prints() {
        let text = "\
; <<>> DiG 9.18 <<>> @127.0.9.1 -p 5300 a.turn.example
;; Got answer:
;; ->>HEADER<<- opcode: QUERY, status: NOERROR, id: 4711
;; flags: qr aa rd; QUERY: 1, ANSWER: 2, AUTHORITY: 0, ADDITIONAL: 1

;; QUESTION SECTION:
;a.turn.example.\t\tIN\tA

;; ANSWER SECTION:
a.turn.example.\t\t5\tIN\tA\t127.0.1.1
a.turn.example.\t\t5\tIN\tA\t127.0.1.2

;; Query time: 0 msec
";
        let answer = parse(text).unwrap();
        assert_eq!(answer.status, "NOERROR");
        assert_eq!(answer.flags, ["qr", "aa", "rd"]);
        assert_eq!(
            answer.addresses,
            ["127.0.1.1", "127.0.1.2"].map(|a| a.parse::<IpAddr>().unwrap())
        );
        assert_eq!(answer.ttls, [5, 5]);
        assert!(parse(";; no servers could be reached").is_none());
    }
}
