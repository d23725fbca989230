"""Two aioice clients that meet over relayed candidates only, and exchange datagrams.

Usage: aioice_pair.py HOST PORT USERNAME PASSWORD udp|tcp|tls CA_FILE
"""

import asyncio
import ssl
import sys

import aioice
from aioice.ice import TransportPolicy

MESSAGES = 100
PATIENCE = 30


def client(controlling: bool) -> aioice.Connection:
    host, port, username, password, transport, ca = sys.argv[1:]
    secure = ssl.create_default_context(cafile=ca) if transport == "tls" else False
    return aioice.Connection(
        ice_controlling=controlling,
        turn_server=(host, int(port)),
        turn_username=username,
        turn_password=password,
        # asyncio takes a context in the place of True.
        turn_ssl=secure,
        turn_transport="udp" if transport == "udp" else "tcp",
        transport_policy=TransportPolicy.RELAY,
    )


async def tell(one: aioice.Connection, other: aioice.Connection) -> None:
    candidates = one.local_candidates
    assert [c.type for c in candidates] == ["relay"], candidates
    for candidate in candidates:
        await other.add_remote_candidate(candidate)
    await other.add_remote_candidate(None)
    other.remote_username = one.local_username
    other.remote_password = one.local_password


async def meet() -> None:
    ann, bob = client(True), client(False)
    await asyncio.gather(ann.gather_candidates(), bob.gather_candidates())
    await tell(ann, bob)
    await tell(bob, ann)
    await asyncio.gather(ann.connect(), bob.connect())
    for number in range(MESSAGES):
        text = b"%d" % number * 200
        await ann.send(text)
        assert await bob.recv() == text
        await bob.send(text[::-1])
        assert await ann.recv() == text[::-1]
    await asyncio.gather(ann.close(), bob.close())
    print(f"{2 * MESSAGES} datagrams")


asyncio.run(asyncio.wait_for(meet(), PATIENCE))
