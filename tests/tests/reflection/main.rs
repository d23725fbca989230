//! What a stranger can make the relay send to somebody else: never much, never for long.
//!
//! Bytes are counted in the kernel of the clients' host, as IP counts them: whatever the relay hands
//! over at once, there it comes packet by packet.

mod loops;
mod ratio;
mod strangers;
