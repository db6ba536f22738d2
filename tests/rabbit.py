"""A real RabbitMQ for tests: a server of its own on free loopback ports in a folder of its own, with
a TLS listener, and the means to treat it badly. It ends exactly what it started."""

import os
import pathlib
import shutil
import signal
import subprocess
import time

from ports import free_port

LIB = pathlib.Path("/usr/lib/rabbitmq/bin")
START_SECONDS_MAX = 120


def installed():
    return (LIB / "rabbitmq-server").exists() and shutil.which("epmd") is not None


def openssl(*arguments):
    subprocess.run(["openssl", *[str(a) for a in arguments]], check=True, capture_output=True)


class Authority:
    """A certificate authority and what it signs, as PEM files in a folder."""

    def __init__(self, folder):
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self.ca = folder / "ca.pem"
        openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
                "-keyout", folder / "ca.key", "-out", self.ca, "-days", "2", "-subj", "/CN=test authority")

    def sign(self, name, alternatives):
        """(certificate, key); `alternatives` like "DNS:localhost,IP:127.0.0.1"."""
        cert, key, ask = (self.folder / f"{name}.{kind}" for kind in ("pem", "key", "csr"))
        extensions = self.folder / f"{name}.ext"
        extensions.write_text(f"subjectAltName={alternatives}\n")
        openssl("req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
                "-keyout", key, "-out", ask, "-subj", f"/CN={name}")
        openssl("x509", "-req", "-in", ask, "-CA", self.ca, "-CAkey", self.folder / "ca.key",
                "-CAcreateserial", "-days", "2", "-extfile", extensions, "-out", cert)
        return cert, key


class Rabbit:
    """Ready after construction. `user` and `password` are guest's."""

    user = password = "guest"

    def __init__(self, folder, alternatives="DNS:localhost"):
        self.folder = folder
        self.port, self.tls_port, self.dist_port, self.epmd_port = (free_port() for _ in range(4))
        self.authority = Authority(folder / "tls")
        cert, key = self.authority.sign("broker", alternatives)
        (folder / "home").mkdir()
        (folder / "env.conf").touch()
        (folder / "rabbitmq.conf").write_text(
            f"listeners.tcp.1 = 127.0.0.1:{self.port}\n"
            f"listeners.ssl.1 = 127.0.0.1:{self.tls_port}\n"
            f"ssl_options.cacertfile = {self.authority.ca}\n"
            f"ssl_options.certfile = {cert}\nssl_options.keyfile = {key}\n"
            "ssl_options.verify = verify_peer\nssl_options.fail_if_no_peer_cert = false\n")
        self.environment = {
            **os.environ,
            "HOME": str(folder / "home"),
            "RABBITMQ_NODENAME": f"test{self.port}@localhost",
            "RABBITMQ_NODE_IP_ADDRESS": "127.0.0.1",
            "RABBITMQ_NODE_PORT": str(self.port),
            "RABBITMQ_DIST_PORT": str(self.dist_port),
            "RABBITMQ_MNESIA_BASE": str(folder / "mnesia"),
            "RABBITMQ_LOG_BASE": str(folder / "log"),
            "RABBITMQ_PID_FILE": str(folder / "pid"),
            "RABBITMQ_CONFIG_FILE": str(folder / "rabbitmq.conf"),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(folder / "enabled_plugins"),
            "RABBITMQ_CONF_ENV_FILE": str(folder / "env.conf"),
            "ERL_EPMD_ADDRESS": "127.0.0.1",
            "ERL_EPMD_PORT": str(self.epmd_port),
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "-kernel inet_dist_use_interface {127,0,0,1}",
        }
        self.output = open(folder / "output", "ab")
        # Ours, so that the node does not start one that would outlive it.
        self.epmd = subprocess.Popen(["epmd", "-address", "127.0.0.1", "-port", str(self.epmd_port)],
                                     stdin=subprocess.DEVNULL, stdout=self.output, stderr=self.output)
        self.server = None
        try:
            self.start()
        except BaseException:
            self.close()
            raise

    @property
    def address(self):
        return f"127.0.0.1:{self.port}"

    # ---- life and death ----

    def start(self):
        """Starts the server (again, on the same ports) and waits until it lets us in."""
        (self.folder / "pid").unlink(missing_ok=True)
        self.server = subprocess.Popen(
            [LIB / "rabbitmq-server"], env=self.environment, stdin=subprocess.DEVNULL,
            stdout=self.output, stderr=self.output, start_new_session=True)
        end = time.monotonic() + START_SECONDS_MAX
        while not self.lets_in():
            if self.server.poll() is not None or time.monotonic() > end:
                raise AssertionError("rabbitmq-server does not start:\n"
                                     + (self.folder / "output").read_text()[-3000:])
            time.sleep(0.1)

    def lets_in(self):
        try:
            self.connection().close()
            return True
        except Exception:  # whatever pika makes of a server that is half up
            return False

    def pid(self):
        return int((self.folder / "pid").read_text())

    def stop(self):
        """In order: connections get a connection.close."""
        if self.server and self.server.poll() is None:
            self.ctl("shutdown")
            self.server.wait(60)

    def on_disk(self, queue):
        """Whether the registry of quorum queues has it on disk. That is written some time after the
        declaration, and killed before, RabbitMQ 3.10 leaves the queue without a leader for ever:
        wait for it before kill()."""
        return any(queue.encode() in path.read_bytes()
                   for path in (self.folder / "mnesia").glob("*/quorum/*/names.dets"))

    def kill(self):
        """kill -9."""
        os.kill(self.pid(), signal.SIGKILL)
        self.server.wait(60)

    def restart(self):
        self.stop()
        self.start()

    def pause(self):
        os.kill(self.pid(), signal.SIGSTOP)

    def resume(self):
        os.kill(self.pid(), signal.SIGCONT)

    def close(self):
        if self.server and self.server.poll() is None:
            try:
                self.resume()
                self.stop()
            except Exception:  # it must end all the same
                os.killpg(self.server.pid, signal.SIGKILL)
                self.server.wait(60)
        self.epmd.kill()
        self.epmd.wait()
        self.output.close()

    # ---- managing ----

    def ctl(self, *arguments):
        """rabbitmqctl; its output. Takes a second or two, it starts a virtual machine of its own."""
        r = subprocess.run([LIB / "rabbitmqctl", "--quiet", *arguments], env=self.environment,
                           capture_output=True, text=True, timeout=120)
        assert r.returncode == 0, f"rabbitmqctl {arguments}: {r.stdout}{r.stderr}"
        return r.stdout

    def block(self, short_of="memory"):
        """An alarm, of memory or of disk: the broker reads no more from those who publish."""
        if short_of == "disk":
            self.ctl("set_disk_free_limit", str(1 << 60))
        else:
            self.ctl("set_vm_memory_high_watermark", "0")

    def unblock(self):
        self.ctl("set_vm_memory_high_watermark", "0.4")
        self.ctl("set_disk_free_limit", str(1 << 20))

    def add_user(self, user, password, vhost="/", configure=".*", write=".*", read=".*"):
        self.ctl("add_user", user, password)
        self.ctl("set_permissions", "-p", vhost, user, configure, write, read)

    def queues(self):
        """{name: messages}"""
        rows = self.ctl("list_queues", "name", "messages", "--no-table-headers").splitlines()
        return {name: int(count) for name, count in (row.split("\t") for row in rows if row)}

    def delete_queue(self, name):
        with self.connection() as c:
            c.channel().queue_delete(name)

    def log(self):
        return "\n".join(p.read_text(errors="replace")
                         for p in sorted((self.folder / "log").glob("*.log")))

    # ---- an independent client ----

    def connection(self, **parameters):
        """A pika connection."""
        import pika
        return pika.BlockingConnection(pika.ConnectionParameters(
            host="127.0.0.1", port=self.port, socket_timeout=5, blocked_connection_timeout=60,
            **parameters))
