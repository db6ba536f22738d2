"""A server that a test scripts byte by byte, to do what a real broker never would."""

import socket
import struct
import threading

METHOD, HEADER, BODY, HEARTBEAT = 1, 2, 3, 8


def frame(kind, channel, payload):
    return struct.pack(">BHI", kind, channel, len(payload)) + payload + b"\xce"


def method(channel, class_id, method_id, arguments=b""):
    return frame(METHOD, channel, struct.pack(">HH", class_id, method_id) + arguments)


def short(text):
    return bytes([len(text)]) + text.encode()


def long(data):
    return struct.pack(">I", len(data)) + data


START = method(0, 10, 10, b"\0\x09" + long(b"") + long(b"AMQPLAIN PLAIN") + long(b"en_US"))
CHANNEL_OPEN_OK = long(b"")


def tune(heartbeat=60, frame_max=131072):
    return method(0, 10, 30, struct.pack(">HIH", 2047, frame_max, heartbeat))


def deliver(tag, body_size, key="k", properties=b"\0\0"):
    """Method and header of a message; the body is the caller's."""
    return (method(1, 60, 60, short("consumer") + struct.pack(">QB", tag, 0) + short("x") + short(key))
            + frame(HEADER, 1, struct.pack(">HHQ", 60, 0, body_size) + properties))


class Client:
    """The other end of one connection."""

    def __init__(self, connection):
        self.connection = connection
        self.connection.settimeout(60)
        self.pending = b""

    def send(self, data):
        self.connection.sendall(data)

    def take(self, size):
        while len(self.pending) < size:
            data = self.connection.recv(65536)
            if not data:
                raise EOFError
            self.pending += data
        taken, self.pending = self.pending[:size], self.pending[size:]
        return taken

    def frame(self):
        """(kind, channel, payload); a method's payload begins with its two numbers."""
        kind, channel, size = struct.unpack(">BHI", self.take(7))
        payload = self.take(size)
        assert self.take(1) == b"\xce"
        return kind, channel, payload

    def expect(self, class_id, method_id):
        """The arguments of the next method, heartbeats aside."""
        while True:
            kind, _, payload = self.frame()
            if kind != HEARTBEAT:
                assert struct.unpack(">HH", payload[:4]) == (class_id, method_id)
                return payload[4:]

    def greet(self, heartbeat=60, frame_max=131072):
        """All until the client is connected."""
        assert self.take(8) == b"AMQP\0\0\x09\x01"
        self.send(START)
        self.start_ok = self.expect(10, 11)
        self.send(tune(heartbeat, frame_max))
        self.tune_ok = struct.unpack(">HIH", self.expect(10, 31))
        self.expect(10, 40)
        self.send(method(0, 10, 41, short("")))
        self.expect(20, 10)
        self.send(method(1, 20, 11, CHANNEL_OPEN_OK))

    def serve_consume(self):
        self.expect(60, 10)
        self.send(method(1, 60, 11))
        self.expect(60, 20)
        self.send(method(1, 60, 21, short("consumer")))


class FalseBroker:
    """Runs script(client) for each connection, in order; the connection closes when it returns."""

    def __init__(self, *scripts):
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.address = f"127.0.0.1:{self.port}"
        self.error = None
        self.client = None
        self.thread = threading.Thread(target=self._run, args=(scripts,), daemon=True)
        self.thread.start()

    def _run(self, scripts):
        for script in scripts:
            try:
                connection, _ = self.listener.accept()
                self.client = Client(connection)
                script(self.client)
            except (OSError, EOFError):
                pass  # the client went away, which is its right
            except BaseException as e:
                self.error = e
                return
            finally:
                if self.client:
                    self.client.connection.close()  # a script may have put TLS around it

    def close(self):
        for s in [self.listener] + ([self.client.connection] if self.client else []):
            try:
                s.shutdown(socket.SHUT_RDWR)  # which also wakes a thread that waits on it
            except OSError:
                pass  # closed already
        self.thread.join(60)
        assert not self.thread.is_alive()
        self.listener.close()
        if self.error:
            raise self.error
