"""A small HTTP/1.1 server over bare sockets, for services that must also misbehave.

http.server hides the connection; a fake needs it: to cut it in the middle of a body, to answer
10 bytes a second, to say nothing at all. It is also several times slower. One thread per
connection, connections are kept, loopback only.
"""

import email.utils
import re
import socket
import struct
import threading
import time
import urllib.parse

HEAD_MAX = 64 << 10
BODY_MAX = 64 << 20  # a picture has at most a few megabytes; this is against our own mistakes
READ_SIZE = 256 << 10

PHRASES = {200: "OK", 201: "Created", 204: "No Content", 206: "Partial Content", 302: "Found",
           308: "Resume Incomplete", 400: "Bad Request", 401: "Unauthorized", 403: "Forbidden",
           404: "Not Found", 405: "Method Not Allowed", 409: "Conflict", 410: "Gone",
           412: "Precondition Failed", 413: "Request Entity Too Large",
           416: "Requested Range Not Satisfiable", 428: "Precondition Required",
           429: "Too Many Requests", 499: "Client Closed Request", 500: "Internal Server Error",
           502: "Bad Gateway", 503: "Service Unavailable", 504: "Gateway Timeout"}


class Gone(Exception):
    """The other end has closed or reset the connection, or we have."""


class BodyCut(Gone):
    """The connection ended in the middle of a request's body; `data` is what came."""

    def __init__(self, data):
        super().__init__(f"cut after {len(data)} bytes")
        self.data = data


class BadRequest(Exception):
    """Not HTTP as we understand it."""


class Answer:
    def __init__(self, status=200, body=b"", content_type=None, headers=()):
        self.status = status
        self.body = body
        self.content_type = content_type
        self.headers = list(headers)

    def wire(self, date_s):
        """The bytes to send; date_s is the server's clock."""
        lines = [f"HTTP/1.1 {self.status} {PHRASES.get(self.status, 'Status')}",
                 f"Date: {email.utils.formatdate(date_s, usegmt=True)}"]
        if self.content_type:
            lines.append(f"Content-Type: {self.content_type}")
        if self.status != 204:
            lines.append(f"Content-Length: {len(self.body)}")
        lines += [f"{name}: {value}" for name, value in self.headers]
        return "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + self.body


class Request:
    """One request whose head has been read; the body is read when it is asked for."""

    def __init__(self, connection, method, target, version, headers):
        self.connection = connection
        self.method = method
        self.target = target
        self.headers = headers  # names in lower case
        path, _, query = target.partition("?")
        self.path = urllib.parse.unquote(path)
        self.query_list = urllib.parse.parse_qsl(query, keep_blank_values=True)
        self.query = dict(self.query_list)
        words = headers.get("connection", "").lower()
        self.keep = "close" not in words and (version == "HTTP/1.1" or "keep-alive" in words)
        self.body = None  # bytes as soon as all have been read
        self.chunked = "chunked" in headers.get("transfer-encoding", "").lower()
        length = headers.get("content-length", "0").strip()
        if not re.fullmatch(r"\d{1,12}", length):
            raise BadRequest("Content-Length is no number")
        self.length = int(length)

    def read_body(self):
        """All of the body. Raises BodyCut with what came when the client goes away."""
        if self.body is None:
            self.allow()
            if self.chunked:
                self.body = self._read_chunks()
            else:
                self.body = self.connection.read_exactly(self.length)
        return self.body

    def read_some(self, count):
        """The body's first bytes, to be followed by no other reading."""
        self.allow()
        return self.connection.read_exactly(min(count, self.length))

    def allow(self):
        """A client that asks whether it may send is told so at once."""
        if self.headers.get("expect", "").lower() == "100-continue":
            self.connection.send(b"HTTP/1.1 100 Continue\r\n\r\n")

    def _read_chunks(self):
        data = bytearray()
        while True:
            size = int(self.connection.read_line().split(b";")[0], 16)
            if size == 0:
                break
            if len(data) + size > BODY_MAX:
                raise BadRequest("the body is too long")
            data += self.connection.read_exactly(size)
            self.connection.read_line()
        while self.connection.read_line():  # trailers
            pass
        return bytes(data)


class Connection:
    def __init__(self, sock, number):
        self.sock = sock
        self.number = number
        self.buffer = bytearray()

    def _more(self):
        try:
            data = self.sock.recv(READ_SIZE)
        except OSError as e:
            raise Gone(str(e)) from e
        if not data:
            raise Gone("closed")
        self.buffer += data

    def read_line(self):
        while True:
            end = self.buffer.find(b"\n")
            if end >= 0:
                line = bytes(self.buffer[:end])
                del self.buffer[:end + 1]
                return line.rstrip(b"\r")
            if len(self.buffer) > HEAD_MAX:
                raise BadRequest("a line is too long")
            self._more()

    def read_exactly(self, count):
        if count > BODY_MAX:
            raise BadRequest("the body is too long")
        try:
            while len(self.buffer) < count:
                self._more()
        except Gone:
            data = bytes(self.buffer)
            self.buffer.clear()
            raise BodyCut(data) from None
        data = bytes(self.buffer[:count])
        del self.buffer[:count]
        return data

    def read_request(self):
        """The next request, None at an orderly end."""
        try:
            line = self.read_line()
            while not line:  # a stray line end between requests is allowed (RFC 9112, 2.2)
                line = self.read_line()
        except Gone:
            return None
        words = line.decode("latin-1").split(" ")
        if len(words) != 3 or not words[2].startswith("HTTP/1."):
            raise BadRequest("no HTTP request line")
        headers = {}
        while True:
            line = self.read_line()
            if not line:
                break
            name, colon, value = line.decode("latin-1").partition(":")
            if not colon:
                raise BadRequest("a header without a colon")
            headers[name.strip().lower()] = value.strip()
            if len(headers) > 100:
                raise BadRequest("too many headers")
        return Request(self, words[0], words[1], words[2], headers)

    def send(self, data):
        try:
            self.sock.sendall(data)
        except OSError as e:
            raise Gone(str(e)) from e

    def wait_for_the_end(self, seconds=None):
        """Reads and forgets until the client gives up, or for so long."""
        end = time.monotonic() + seconds if seconds is not None else None
        try:
            while True:
                if end is not None:
                    left = end - time.monotonic()
                    if left <= 0:
                        return
                    self.sock.settimeout(left)
                if not self.sock.recv(READ_SIZE):
                    return
        except OSError:
            pass

    def reset(self):
        """The peer sees RST where close would be FIN."""
        try:
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        except OSError:
            pass
        self.close()

    def close(self):
        try:
            self.sock.close()
        except OSError:
            pass


class Server:
    """Calls handle(request) in the connection's thread; it sends the answer itself and returns
    whether the connection is kept."""

    def __init__(self, handle, port=0, tls=None):
        self.handle = handle
        self.tls = tls  # an ssl.SSLContext or None
        self.lock = threading.Lock()
        self.connections = {}  # number: Connection
        self.threads = {}
        self.count = 0
        self.stopped = threading.Event()  # for handlers that wait
        self.listener = None
        self.port = port
        self.up()

    def up(self):
        """Listens (again), always on the same port."""
        with self.lock:
            if self.listener:
                return
            listener = socket.socket()
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind(("127.0.0.1", self.port))
            listener.listen(128)
            self.port = listener.getsockname()[1]
            self.listener = listener
            self.stopped.clear()
        threading.Thread(target=self._accept, args=(listener,), daemon=True).start()

    def down(self):
        """Connections are refused from now on, and those that were open are reset."""
        with self.lock:
            listener, self.listener = self.listener, None
            connections = list(self.connections.values())
            threads = list(self.threads.values())
        self.stopped.set()
        if listener:
            # Wakes accept(), which close() alone does not.
            try:
                listener.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
            listener.close()
        for connection in connections:
            try:
                connection.sock.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
        for thread in threads:
            if thread is not threading.current_thread():
                thread.join(10)

    stop = down

    def _accept(self, listener):
        while True:
            try:
                sock, _ = listener.accept()
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            except OSError:  # a client that was gone before we saw it, or the end
                with self.lock:
                    if self.listener is not listener:
                        return
                continue
            with self.lock:
                if self.listener is not listener:
                    sock.close()
                    return
                self.count += 1
                connection = Connection(sock, self.count)
                self.connections[connection.number] = connection
                thread = threading.Thread(target=self._serve, args=(connection,), daemon=True)
                self.threads[connection.number] = thread
                thread.start()  # down() joins those that it finds

    def _serve(self, connection):
        try:
            if self.tls:
                connection.sock = self.tls.wrap_socket(connection.sock, server_side=True)
            while True:
                request = connection.read_request()
                if not request or not self.handle(request) or not request.keep:
                    break
        except BadRequest as e:
            try:
                connection.send(Answer(400, f"{e}\n".encode(), "text/plain",
                                       [("Connection", "close")]).wire(time.time()))
            except Gone:
                pass
        except (Gone, OSError):
            pass
        finally:
            connection.close()
            with self.lock:
                self.connections.pop(connection.number, None)
                self.threads.pop(connection.number, None)
