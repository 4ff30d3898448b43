"""Messages between the run and a sender process. After the sender has its configuration, neither side blocks."""

from __future__ import annotations

import io
import pickle
import socket
import struct
from collections import deque
from typing import Any

_HEAD = struct.Struct("!Q")
_BYTES_A_READ = 256 * 1024
# One busy sender must not keep the run from the others or from a signal.
_MOST_BYTES_A_TURN = 16 * 2**20


class Channel:
    """One end of the connection between the run and a sender. No method blocks, whatever happens to the other side."""

    def __init__(self, end: socket.socket) -> None:
        end.setblocking(False)
        self._end = end
        self._unsent: deque[memoryview] = deque()
        self._received = bytearray()
        self.is_over = False
        """Whether the other side is gone and all that it sent was received."""

    def fileno(self) -> int:
        """Return the socket's file descriptor, for a selector."""
        return self._end.fileno()

    @property
    def has_unsent(self) -> bool:
        """Whether `flush` must be called once the socket accepts more."""
        return bool(self._unsent)

    def put(self, message: object) -> None:
        """Send as much of a message as the socket accepts, and keep the rest."""
        self._unsent.append(_packed(message))
        self.flush()

    def flush(self) -> None:
        """Send as much of what is kept as the socket accepts."""
        try:
            while self._unsent:
                part = self._unsent[0]
                rest = part[self._end.send(part) :]
                if rest:
                    self._unsent[0] = rest
                else:
                    self._unsent.popleft()
        except BlockingIOError:
            pass
        except OSError:  # the other side is gone, which `take` finds
            self._unsent.clear()

    def take(self) -> list[Any]:
        """Return the messages that have arrived completely."""
        read = 0
        while not self.is_over and read < _MOST_BYTES_A_TURN:
            try:
                part = self._end.recv(_BYTES_A_READ)
            except BlockingIOError:
                break
            except OSError:
                part = b""
            self.is_over = not part
            self._received += part
            read += len(part)
        return self._complete_messages()

    def close(self) -> None:
        """Close the socket, which ends the other side."""
        self._unsent.clear()
        self._end.close()

    def _complete_messages(self) -> list[Any]:
        messages, start = [], 0
        with memoryview(self._received) as received:
            while len(received) >= start + _HEAD.size:
                (size,) = _HEAD.unpack_from(received, start)
                begin = start + _HEAD.size
                if len(received) < begin + size:
                    break
                with received[begin : begin + size] as message:
                    messages.append(pickle.loads(message))
                start = begin + size
        del self._received[:start]
        return messages


def _packed(message: object) -> memoryview:
    """Return a message behind its length, in one piece: the head alone would wake the other side for nothing."""
    buffer = io.BytesIO()
    buffer.write(bytes(_HEAD.size))
    pickle.dump(message, buffer)
    data = buffer.getbuffer()
    _HEAD.pack_into(data, 0, len(data) - _HEAD.size)
    return data


def receive_first(end: socket.socket) -> Any:
    """Wait for the next message from a socket and return it. Raises EOFError and OSError."""
    (size,) = _HEAD.unpack(exactly(end, _HEAD.size))
    return pickle.loads(exactly(end, size))


def exactly(end: socket.socket, size: int) -> bytearray:
    """Wait for so many bytes from a socket and return them. Raises EOFError and OSError."""
    data = bytearray(size)
    with memoryview(data) as rest:
        done = 0
        while done < size:
            with rest[done:] as part:
                count = end.recv_into(part)
            if not count:
                raise EOFError
            done += count
    return data
