//! EDNS (RFC 6891): what a query's options ask for, and the options of its reply.

use std::net::IpAddr;

use credentials::UnixTime;
use dnsd_core::answer::ExtendedError;
use hickory_proto::op::{Edns, ResponseCode};
use hickory_proto::rr::rdata::opt::{ClientSubnet, EdnsCode, EdnsOption};
use ipnet::IpNet;

use super::cookie::Shown;
use super::rules::Rules;
use crate::limits::{TCP_IDLE, UDP_PAYLOAD};
use crate::metrics::{Cookie, Transport};

/// What the options of a query ask for.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Asked {
    /// The client's network, if the resolver tells it.
    subnet: Option<(ClientSubnet, IpNet)>,
    cookie: Option<Shown>,
    nsid: bool,
    keepalive: bool,
    padded: bool,
}

impl Asked {
    /// Reads the options; what is not known is passed over.
    ///
    /// # Errors
    /// The response code for one that breaks its rules.
    pub(super) fn read(
        edns: &Edns,
        rules: &Rules,
        (client, transport): (IpAddr, Transport),
        now: UnixTime,
    ) -> Result<Self, ResponseCode> {
        let mut asked = Self::default();
        // Of several of a kind the first counts (RFC 7873 section 5.2).
        if let Some(EdnsOption::Unknown(_, cookie)) = edns.option(EdnsCode::Cookie) {
            let shown = rules.cookies.judge(cookie, client, now);
            if shown == Shown::Malformed {
                return Err(ResponseCode::FormErr);
            }
            asked.cookie = Some(shown);
        }
        if let Some(EdnsOption::Subnet(subnet)) = edns.option(EdnsCode::Subnet) {
            let network = network(subnet).ok_or(ResponseCode::FormErr)?;
            asked.subnet = Some((*subnet, network));
        }
        asked.nsid = edns.option(EdnsCode::NSID).is_some();
        // Over UDP it has no meaning (RFC 7828 section 3.2.1).
        asked.keepalive = transport.is_stream() && edns.option(EdnsCode::Keepalive).is_some();
        asked.padded = edns.option(EdnsCode::Padding).is_some();
        Ok(asked)
    }

    /// The network that the answer is for. A source prefix of 0 says that the client is not to be
    /// told of (RFC 7871 section 7.1.2).
    pub(super) fn network(&self) -> Option<IpNet> {
        let network = self.subnet.map(|(_, network)| network);
        network.filter(|network| network.prefix_len() > 0)
    }

    /// Whether the query was padded, and the answer may be (RFC 7830 section 4).
    pub(super) fn is_padded(&self) -> bool {
        self.padded
    }

    /// What is counted of it.
    pub(super) fn cookie(&self) -> Cookie {
        self.cookie.into()
    }

    /// Adds the options of the reply, whose answer holds for so many bits of the client's network.
    pub(super) fn answer(
        &self,
        edns: &mut Edns,
        rules: &Rules,
        (client, now): (IpAddr, UnixTime),
        scope: u8,
    ) {
        let options = edns.options_mut();
        if let Some((asked, network)) = self.subnet {
            // RFC 7871 section 7.2.1: the option comes back with the scope the answer is good for,
            // which is never more than was told.
            let scope = scope.min(asked.source_prefix());
            let echo = ClientSubnet::new(network.addr(), asked.source_prefix(), scope);
            options.insert(EdnsOption::Subnet(echo));
        }
        if let Some(Shown::Client(own) | Shown::Good(own)) = self.cookie {
            let made = rules.cookies.make(own, client, now);
            let cookie = [&own[..], &made].concat();
            options.insert(EdnsOption::Unknown(EdnsCode::Cookie.into(), cookie));
        }
        if let Some(nsid) = rules.nsid.as_ref().filter(|_| self.nsid) {
            let nsid = nsid.as_bytes().to_vec();
            options.insert(EdnsOption::Unknown(EdnsCode::NSID.into(), nsid));
        }
        if self.keepalive {
            // In units of 100 ms (RFC 7828 section 3.1).
            let idle = u16::try_from(TCP_IDLE.as_millis() / 100).unwrap_or(u16::MAX);
            let idle = idle.to_be_bytes().to_vec();
            options.insert(EdnsOption::Unknown(EdnsCode::Keepalive.into(), idle));
        }
    }
}

/// Our OPT record: own payload size, version 0, the DO bit as asked (RFC 3225 section 3).
pub(super) fn offered(asked: &Edns) -> Edns {
    let mut edns = Edns::new();
    edns.set_max_payload(UDP_PAYLOAD)
        .set_dnssec_ok(asked.flags().dnssec_ok);
    edns
}

/// Says why, to those who asked with EDNS (RFC 8914).
pub(super) fn explain(edns: &mut Edns, error: ExtendedError) {
    const EXTENDED_ERROR: u16 = 15;
    let code = (error as u16).to_be_bytes().to_vec();
    let options = edns.options_mut();
    options.insert(EdnsOption::Unknown(EXTENDED_ERROR, code));
}

/// The network of a client subnet option, unless it breaks RFC 7871 section 6: bits beyond the
/// source prefix, or a scope in a query.
fn network(subnet: &ClientSubnet) -> Option<IpNet> {
    let network = IpNet::new(subnet.addr(), subnet.source_prefix()).ok()?;
    (network.trunc() == network && subnet.scope_prefix() == 0).then_some(network)
}
