//! Datagrams across real sockets: alone and in one piece.

use super::*;

const LENGTH: usize = 100;

fn socket(offload: Offload) -> (UdpSocket, SockaddrStorage) {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    prepare(&socket, offload).unwrap();
    let address = system_address(socket.local_addr().unwrap());
    (socket, address)
}

fn plain() -> (UdpSocket, SockaddrStorage) {
    let (send, receive) = (None, false);
    socket(Offload { send, receive })
}

fn fill(outbox: &mut Outbox, count: usize, to: Option<SockaddrStorage>) {
    for number in 0..count {
        outbox.push(to).fill(number as u8);
    }
}

/// What waits on `socket`: the datagrams' lengths, and the bytes of all.
fn received(socket: &UdpSocket) -> (Vec<usize>, Vec<u8>) {
    let (mut inbox, mut lengths, mut bytes) = (Inbox::default(), Vec::new(), Vec::new());
    loop {
        inbox.receive(socket).unwrap();
        if inbox.iter().next().is_none() {
            return (lengths, bytes);
        }
        for (datagram, _) in inbox.iter() {
            lengths.push(datagram.len());
            bytes.extend_from_slice(datagram);
        }
    }
}

fn in_order(count: usize) -> Vec<u8> {
    (0..count).flat_map(|n| [n as u8; LENGTH]).collect()
}

#[test]
fn each_packet_is_a_datagram_of_its_own_where_nothing_is_coalesced() {
    let ((from, _), (socket, to)) = (plain(), plain());
    let mut outbox = Outbox::new(LENGTH, false);
    fill(&mut outbox, OUTGOING, Some(to));
    assert!(outbox.is_full());
    assert_eq!(outbox.send(&from).unwrap(), OUTGOING);
    let (lengths, bytes) = received(&socket);
    assert_eq!(lengths, vec![LENGTH; OUTGOING]);
    assert_eq!(bytes, in_order(OUTGOING));
    assert_eq!(outbox.send(&from).unwrap(), 0);
}

#[test]
fn a_row_arrives_in_one_piece_where_it_is_taken_so() {
    let (send, receive) = (Some(LENGTH), true);
    let (from, _) = socket(Offload { send, receive });
    let (whole, to) = socket(Offload { send, receive });
    let (apart, other) = plain();
    let mut outbox = Outbox::new(LENGTH, true);
    fill(&mut outbox, 5, Some(to));
    fill(&mut outbox, 3, Some(other));
    assert_eq!(outbox.send(&from).unwrap(), 8);
    assert_eq!(received(&whole), (vec![5 * LENGTH], in_order(5)));
    assert_eq!(received(&apart), (vec![LENGTH; 3], in_order(3)));
}

#[test]
fn a_connected_socket_needs_no_addresses_and_senders_are_told() {
    let ((from, sender), (socket, _)) = (plain(), plain());
    from.connect(socket.local_addr().unwrap()).unwrap();
    let mut outbox = Outbox::new(LENGTH, false);
    fill(&mut outbox, 1, None);
    assert_eq!(outbox.send(&from).unwrap(), 1);
    let mut inbox = Inbox::default();
    inbox.receive(&socket).unwrap();
    let senders: Vec<_> = inbox.iter().map(|(_, from)| from).collect();
    assert_eq!(senders, [Some(sender)]);
}
