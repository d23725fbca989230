//! The TURN relay daemon: sockets, threads, REST, reports around turnd-core.
