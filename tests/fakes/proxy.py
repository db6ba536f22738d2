"""A proxy on a port of 127.0.0.1 as companies have it: CONNECT to where it lets one, and nothing else.

    with ConnectProxy({"rekognition.eu-west-1.amazonaws.com:443": fake.port}) as proxy:
        ... proxy.url ... proxy.targets ...

What passes through is in `proxy.seen`, both directions, as the proxy itself sees it. `login` is what
it wants as Proxy-Authorization; `fault` an answer to each CONNECT instead of a way.
"""
import base64
import contextlib
import socket
import threading


class ConnectProxy:
    def __init__(self, ways, login=None, fault=None):
        self.ways, self.login, self.fault = ways, login, fault
        self.heads, self.targets, self.seen, self.open = [], [], [], []
        self.server = socket.create_server(("127.0.0.1", 0))
        self.port = self.server.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        threading.Thread(target=self._serve, daemon=True).start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.server.close()

    def hang_up(self, fault):
        """Ends all that passes through, and answers so from now on."""
        self.fault = fault
        for way in self.open:
            with contextlib.suppress(OSError):  # it has ended
                way.shutdown(socket.SHUT_RDWR)

    def _serve(self):
        while True:
            try:
                near, _ = self.server.accept()
            except OSError:
                return
            threading.Thread(target=self._tend, args=(near,), daemon=True).start()

    def _tend(self, near):
        with near, contextlib.suppress(OSError):  # one side went away
            head = b""
            while b"\r\n\r\n" not in head:
                data = near.recv(65536)
                if not data:
                    return
                head += data
            self.heads.append(head.decode())
            method, target, _ = head.split(b"\r\n")[0].decode().split(" ")
            if method != "CONNECT":
                return near.sendall(b"HTTP/1.1 405 no\r\nContent-Length: 0\r\n\r\n")
            self.targets.append(target)
            if self.fault:
                return near.sendall(self.fault)
            if self.login and not self._is_let_in(head):
                return near.sendall(b"HTTP/1.1 407 who\r\nProxy-Authenticate: Basic realm=\"x\"\r\n"
                                    b"Content-Length: 0\r\n\r\n")
            if target not in self.ways:
                return near.sendall(b"HTTP/1.1 403 no\r\nContent-Length: 0\r\n\r\n")
            with socket.create_connection(("127.0.0.1", self.ways[target])) as far:
                near.sendall(b"HTTP/1.1 200 go\r\nx-amzn-RequestId: the-proxys\r\n\r\n")
                self.open += [near, far]
                back = threading.Thread(target=self._pump, args=(far, near), daemon=True)
                back.start()
                self._pump(near, far)
                back.join()

    def _is_let_in(self, head):
        wanted = b"Proxy-Authorization: Basic " + base64.b64encode(self.login.encode())
        return wanted in head

    def _pump(self, a, b):
        with contextlib.suppress(OSError):  # one side went away
            while data := a.recv(65536):
                self.seen.append(data)
                b.sendall(data)
            b.shutdown(socket.SHUT_WR)
