//! Zone files: what is taken, and what is refused with its line.
#![allow(clippy::unwrap_used)]

mod common;

use common::{name, six};
use dnsd_core::inventory::{OtherZone, Problem, Subject};
use dnsd_core::records::Records;
use hickory_proto::rr::{RData, RecordType};
use proptest::prelude::*;

fn read(text: &str) -> Result<Records, Vec<String>> {
    let read = Records::parse(text, &name("turn.example."));
    read.map_err(|problems| problems.iter().map(ToString::to_string).collect())
}

#[test]
fn every_type_that_operators_write_is_taken() {
    let text = r#"; records that nobody steers
$TTL 300
@           TXT   "v=spf1 -all" "second string; no comment"
            CAA   0 issue "ca.example"
www    60 IN CNAME docs.example.
mail IN 120 MX    10 mx.example.
$ORIGIN sub.turn.example.
@           A     192.0.2.80
            AAAA  2001:db8::80
$ORIGIN deeper
x           PTR   up.turn.example.
$ORIGIN turn.example.
_443._tcp.fra-1 TLSA 3 1 1 (
    d2abde240d7cd3ee6b4b28c54df034b9  ; over
    7983a1d16e8a410e4561cb106618e971 ) ; two lines
api         HTTPS 1 . alpn=h2
_dns.ns1    SVCB  1 ns1.turn.example. alpn=dot
_sip._udp   SRV   5 7 5060 sip.example.
sip         NAPTR 100 10 "s" "SIP+D2U" "" _sip._udp
host        SSHFP 4 2 123456789abcdef67890123456789abcdef67890123456789abcdef123456789
*.wild      TXT   any
cut         NS    ns.cut
ns.cut      A     192.0.2.53
_domainkey  TXT   ( "v=DKIM1; k=ed25519; " ; the key
                    "p=11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=" )
"#;
    let records = read(text).unwrap();
    let found: Vec<_> = records
        .sets()
        .iter()
        .map(|set| (set.name.to_string(), set.record_type, set.ttl, set.line))
        .collect();
    let expected = [
        ("turn.example.", RecordType::TXT, 300, 3),
        ("turn.example.", RecordType::CAA, 300, 4),
        ("www.turn.example.", RecordType::CNAME, 60, 5),
        ("mail.turn.example.", RecordType::MX, 120, 6),
        ("sub.turn.example.", RecordType::A, 300, 8),
        ("sub.turn.example.", RecordType::AAAA, 300, 9),
        ("x.deeper.sub.turn.example.", RecordType::PTR, 300, 11),
        ("_443._tcp.fra-1.turn.example.", RecordType::TLSA, 300, 13),
        ("api.turn.example.", RecordType::HTTPS, 300, 16),
        ("_dns.ns1.turn.example.", RecordType::SVCB, 300, 17),
        ("_sip._udp.turn.example.", RecordType::SRV, 300, 18),
        ("sip.turn.example.", RecordType::NAPTR, 300, 19),
        ("host.turn.example.", RecordType::SSHFP, 300, 20),
        ("*.wild.turn.example.", RecordType::TXT, 300, 21),
        ("cut.turn.example.", RecordType::NS, 300, 22),
        ("ns.cut.turn.example.", RecordType::A, 300, 23),
        ("_domainkey.turn.example.", RecordType::TXT, 300, 24),
    ]
    .map(|(name, kind, ttl, line)| (name.to_owned(), kind, ttl, line));
    assert_eq!(found, expected);
    let text = |place: usize| records.sets()[place].data[0].to_string();
    assert!(text(0).contains("second string; no comment"), "{}", text(0));
    let RData::TXT(key) = &records.sets()[16].data[0] else {
        panic!("{:?}", records.sets()[16])
    };
    let strings: Vec<&[u8]> = key.txt_data.iter().map(AsRef::as_ref).collect();
    let expected: [&[u8]; 2] = [
        b"v=DKIM1; k=ed25519; ",
        b"p=11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=",
    ];
    assert_eq!(strings, expected);
    let RData::NAPTR(naptr) = &records.sets()[11].data[0] else {
        panic!("{:?}", records.sets()[11])
    };
    assert_eq!(naptr.replacement, name("_sip._udp.turn.example."));
    // RFC 2308 section 4: without $TTL the last one counts.
    let last = read("a1 77 A 192.0.2.1\na2 A 192.0.2.2\n").unwrap();
    assert_eq!(last.sets()[1].ttl, 77);
    // The last owner stays who it was, whatever the origin has become.
    let moved = read("x 60 TXT 1\n$ORIGIN y.turn.example.\n TXT 2\n TXT 3\n").unwrap();
    assert_eq!(moved.sets().len(), 1, "{moved:?}");
}

#[test]
fn whatever_is_wrong_is_told_at_once_with_its_line() {
    let text = r#"$TTL 300
@        SOA  ns1 hostmaster 1 2 3 4 5
@        NS   ns1
x        A    192.0.2.300
y        NOPE 1
         TXT  "belongs to y"
other.example. A 192.0.2.1
z        CH TXT "class"
z   9999999 TXT "too long"
$INCLUDE /etc/passwd
@        CNAME elsewhere.example.
alias    CNAME one.example.
alias    CNAME two.example.
both     A     192.0.2.1
both     CNAME one.example.
twice    TXT (
  "same"
)
twice    TXT "same"
ttls 10  A 192.0.2.1
ttls 20  A 192.0.2.2
d        NS ns.example.
d        TXT "hidden"
x.d      AAAA 2001:db8::1
y.d      MX 1 mx.example.
*.w      NS ns.example.
open     TXT "never closed
"#;
    let problems = read(text).unwrap_err();
    let lines: Vec<u32> = Records::parse(text, &name("turn.example."))
        .unwrap_err()
        .iter()
        .map(|problem| problem.line)
        .collect();
    let expected = [2, 3, 4, 5, 7, 8, 9, 10, 11, 12, 15, 19, 21, 23, 25, 26, 27];
    assert_eq!(lines, expected, "{problems:#?}");
    for (line, says) in [
        (2, "makes the SOA record itself"),
        (3, "stand in the configuration"),
        (4, "invalid IPv4 address"),
        (5, "NOPE"),
        (7, "another zone"),
        (8, "class CH"),
        (9, "above 604800 seconds"),
        (10, "$INCLUDE is not supported"),
        (11, "apex cannot be an alias"),
        (12, "one target"),
        (15, "A is on line 14"),
        (19, "from line 16"),
        (21, "TTL is 10 on line 20"),
        (23, "which line 22 delegates"),
        (25, "which line 22 delegates"),
        (26, "wildcard cannot be delegated"),
    ] {
        let mark = format!("line {line}: ");
        let problem = problems.iter().find(|problem| problem.starts_with(&mark));
        assert!(
            problem.is_some_and(|p| p.contains(says)),
            "{says}: {problem:?}"
        );
    }
    let quoted = read("x 60 TXT a\\;b\n").unwrap_err();
    assert!(quoted[0].contains("with ; in quotes"), "{quoted:?}");
    assert!(read("  A 192.0.2.1\n").unwrap_err()[0].contains("no owner"));
    assert!(
        read("x A 192.0.2.1\n").unwrap_err()[0].contains("line 1: "),
        "no TTL"
    );
    let many: Vec<_> = (0..20_001)
        .map(|n| format!("x{n} 60 A 192.0.2.1\n"))
        .collect();
    let many = many.concat();
    assert!(read(&many).unwrap_err()[0].contains("more than 20000"));
}

#[test]
fn records_where_the_nameserver_answers_by_itself_are_refused() {
    let text = "$TTL 60\n@ A 192.0.2.1\n@ TXT fine\n*.A AAAA 2001:db8::1\nx.a TXT fine\n\
                fra-1 A 192.0.2.1\nns1 CNAME x.example.\neu NS ns.example.\n_turn._udp TXT fine\n\
                _turn._udp SRV 1 1 3478 mine.example.\nb MX 1 mx.example.\n";
    let records = read(text).unwrap();
    let problems = six().with_zones(records, Vec::new()).unwrap_err();
    let subject = |zone, line| Subject::Record { zone, line };
    let found: Vec<_> = problems.iter().map(|problem| problem.subject).collect();
    assert_eq!(found, [2, 4, 6, 7, 8].map(|line| subject(None, line)));
    let other = |zone: &str, steered, text: &str| OtherZone {
        name: name(zone),
        contact: name("hostmaster.example."),
        steered,
        records: Records::parse(text, &name(zone)).unwrap(),
    };
    let plain = "@ 60 A 192.0.2.1\na 60 A 192.0.2.2\n*.a 60 A 192.0.2.3\n";
    let others = vec![
        other("static.example.", false, plain),
        other("steered.example.", true, plain),
        other("Turn.Example.", false, ""),
        other("example.", true, ""),
    ];
    let problems = six().with_zones(Records::default(), others).unwrap_err();
    let found: Vec<_> = problems.iter().map(|problem| problem.subject).collect();
    let taken = Subject::OtherZone(2);
    assert_eq!(
        found,
        [
            vec![taken],
            vec![
                subject(Some(1), 1),
                subject(Some(1), 2),
                subject(Some(1), 3)
            ]
        ]
        .concat()
    );
    let clash = other("ns1.turn.example.", true, "");
    let problems = six()
        .with_zones(Records::default(), vec![clash])
        .unwrap_err();
    assert!(
        matches!(&problems[..], [Problem { subject: Subject::OtherZone(0), message }]
            if message.contains("steered")),
        "{problems:?}"
    );
}

proptest! {
    /// Whatever the text, it is read or refused, and what is refused has a line of the text.
    #[test]
    fn no_text_panics(text in "([ \t]?(@|[a-c*.]{0,4}|[$]TTL|[$]ORIGIN)[ \t]{1,2}([0-9]{1,3} )?(A|TXT|NS|CNAME|SOA|MX) [(]?[a-c0-9.\"\\\\;)]{0,9}\n?){0,8}") {
        if let Err(problems) = Records::parse(&text, &name("turn.example.")) {
            let lines = text.matches('\n').count() + 1;
            prop_assert!(!problems.is_empty());
            for problem in problems {
                prop_assert!((1..=lines).contains(&(problem.line as usize)), "{problem}");
            }
        }
    }
}
