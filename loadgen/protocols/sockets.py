"""Socket options that the `socket` module has no names or no values for. Pure."""

from __future__ import annotations

import struct
from typing import Final

IP_BIND_ADDRESS_NO_PORT: Final = 24
"""At level IPPROTO_IP, Linux 4.2: bind(address, 0) leaves the port to connect() (ip(7)).

`socket` has it from Python 3.12 on."""
IP_LOCAL_PORT_RANGE: Final = 51
"""At level IPPROTO_IP, Linux 6.3 (91d0b78c5177): the socket's own ip_local_port_range.

The low bound is in the lower half of a 32-bit number, the high one in the upper (ip(7))."""
RESET_ON_CLOSE: Final = struct.pack("ii", 1, 0)
"""SO_LINGER's `struct linger {l_onoff, l_linger}`: on, and 0 seconds.

close() then discards what was not sent and sends RST, and neither side keeps a TIME_WAIT socket
(socket(7); RFC 9293, 3.10.7)."""


def port_range(low: int, high: int) -> bytes:
    """Return the value of IP_LOCAL_PORT_RANGE for the ports from `low` to `high`, both included."""
    return struct.pack("I", high << 16 | low)
