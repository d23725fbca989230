//! Every vulnerability that is known of TURN servers, tried on turnd.
//!
//! Each test is named after where the mistake was found, and says in a line what it was.

mod coturn;
mod disclosure;
mod memory;
mod peers;
mod rfc8656;
mod site;
mod ssrf;
mod ssrf_own;
mod ssrf_tcp;
mod webrtc_rs;
