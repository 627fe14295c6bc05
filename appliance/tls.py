"""TLS between bytes in memory: what is to be sent, what came. Only the handshake waits.

trio.SSLStream costs a task's turn for each message; this costs OpenSSL's own time.
"""

import ssl
from contextlib import suppress

import trio

# RFC 8446 5.1, RFC 5246 6.2.1: what one record carries at most.
RECORD_BYTES = 2**14


class Tls:
    def __init__(self, trust: ssl.SSLContext, host: str) -> None:
        self._came, self._going = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._session = trust.wrap_bio(self._came, self._going, server_hostname=host)
        self._plain = memoryview(bytearray(RECORD_BYTES))

    async def shake_hands(self, tcp: trio.SocketStream) -> None:
        """
        Raises:
            ssl.SSLError: the server's certificate is not trusted, or it speaks no TLS that we do.
        """
        while True:
            try:
                self._session.do_handshake()
                return
            except ssl.SSLWantReadError:
                pass
            finally:
                # Also the alert that tells the server why not.
                if owed := self.owed():
                    await tcp.send_all(owed)
            self.receive(await tcp.receive_some())

    def seal(self, data: bytes | memoryview) -> bytes:
        """
        Raises:
            ssl.SSLError: the session is over, or the server wants to begin it anew, which TLS 1.3 has abolished.
        """
        self._session.write(data)
        return self._going.read()

    def farewell(self) -> bytes:
        """The alert that nothing more will be sent (RFC 8446 6.1). The server's own is not waited for."""
        with suppress(ssl.SSLError):
            self._session.unwrap()
        return self._going.read()

    def owed(self) -> bytes:
        """What TLS has to say for itself."""
        return self._going.read() if self._going.pending else b""

    def receive(self, data: bytes | bytearray) -> None:
        """Empty: the connection's end."""
        if data:
            self._came.write(data)
        else:
            self._came.write_eof()

    def read(self) -> memoryview | None:
        """The next that came, until the next call. None: more must be received first. Empty: the end."""
        if not (self._came.pending or self._came.eof or self._session.pending()):
            return None
        try:
            # Into a buffer it gives a size; typeshed does not know.
            size: int = self._session.read(RECORD_BYTES, self._plain)  # type: ignore[assignment]
            return self._plain[:size]
        except ssl.SSLWantReadError:
            return None
        except ssl.SSLError:
            return self._plain[:0]
