"""A loopback HTTP(S) server that serves files well, or with one of the faults that networks and servers have.

Each path has a file and a script: the faults of its first requests, one after the other; later requests are answered
well. Every request is noted, so that tests can count them and read their headers. It is a proxy too: for whole URLs as
paths, and for CONNECT, which it notes under `host:port` and answers by a tunnel unless a script says otherwise.
"""

from __future__ import annotations

import gzip
import socket
import ssl
import struct
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

_CHUNK = 1 << 15


@dataclass(frozen=True)
class Fault:
    """How one request is answered wrongly; the default is well.

    Args:
        status: instead of 200, with `body` (then ranges do not matter).
        headers: additional ones; they replace those of the same name.
        body: other bytes than the file's.
        cut: close the connection after so many bytes of the body.
        reset: with `cut`: by a reset instead of a close.
        stall: after so many bytes nothing comes any more, until the server ends.
        pause: seconds after each chunk of `chunk` bytes.
        chunk: bytes sent at once.
        length: the Content-Length: "right", "none", "chunked", or a wrong number.
        ranges: False: requests for the rest are answered with everything.
        shift: a 206 begins so many bytes later than asked, and says so.
        flip: the byte at this offset is another one.
        encode: gzip it, and say so.
        etag: instead of the file's; "" for none.
        endless: the file's bytes again and again.
    """

    status: int = 0
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes | None = None
    cut: int | None = None
    reset: bool = False
    stall: int | None = None
    pause: float = 0.0
    chunk: int = _CHUNK
    length: str | int = "right"
    ranges: bool = True
    shift: int = 0
    flip: int | None = None
    encode: bool = False
    etag: str | None = None
    endless: bool = False


@dataclass(frozen=True)
class Seen:
    """One request."""

    path: str
    headers: Mapping[str, str]

    @property
    def range(self) -> str | None:
        return self.headers.get("range")


class FaultServer:
    """What a test talks to.

    Attributes:
        url: of the root, without a slash at the end.
        seen: all requests so far.
        sent: bytes of bodies sent so far.
    """

    def __init__(self, host: str = "127.0.0.1", tls: ssl.SSLContext | None = None) -> None:
        self.seen: list[Seen] = []
        self.sent = 0
        self._files: dict[str, tuple[bytes, str]] = {}
        self._scripts: dict[str, list[Fault]] = {}
        self._always: dict[str, Fault] = {}
        self._lock = threading.Lock()
        self.closing = threading.Event()
        self._server = _Server((host, 0), type("Handler", (_Handler,), {"owner": self}))
        if tls is not None:
            self._server.socket = tls.wrap_socket(self._server.socket, server_side=True, do_handshake_on_connect=False)
        self.url = f"{'https' if tls else 'http'}://{host}:{self._server.server_address[1]}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)
        self._thread.start()

    def settle(self) -> None:
        """Waits until the requests of processes that were killed are noted and done with."""
        with socket.create_connection(self._server.server_address[:2], timeout=10) as last:
            last.sendall(b"GET /last HTTP/1.0\r\n\r\n")
            while last.recv(1 << 10):
                pass
        with self._server.calm:
            assert self._server.calm.wait_for(lambda: self._server.busy == 0, timeout=10)
        self.seen[:] = [one for one in self.seen if one.path != "/last"]

    def close(self) -> None:
        self.closing.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def serve(
        self,
        path: str,
        data: bytes,
        faults: Sequence[Fault] = (),
        *,
        always: Fault | None = None,
        etag: str = '"v1"',
    ) -> str:
        """Puts a file at `path`, with the faults of its first requests, or one for all. Returns its URL."""
        with self._lock:
            self._files[path] = (data, etag)
            self._scripts[path] = list(faults)
            self._always[path] = always or Fault()
        return self.url + path

    def gets(self, path: str) -> list[Seen]:
        return [one for one in self.seen if one.path == path]

    def ranges(self, path: str) -> list[str | None]:
        """The Range headers of the requests for a path, in order; None for those without."""
        return [one.range for one in self.gets(path)]

    def take(self, path: str, headers: Mapping[str, str]) -> tuple[bytes, str, Fault] | None:
        with self._lock:
            self.seen.append(Seen(path, {name.lower(): value for name, value in headers.items()}))
            if path not in self._files:
                return None
            data, etag = self._files[path]
            script = self._scripts[path]
            return data, etag, script.pop(0) if script else self._always[path]


class _Server(ThreadingHTTPServer):
    """Counts the connections that are served now."""

    daemon_threads = True

    def __init__(self, *arguments: Any) -> None:
        self.busy = 0
        self.calm = threading.Condition()
        super().__init__(*arguments)

    def process_request(self, request: Any, client_address: Any) -> None:
        with self.calm:
            self.busy += 1
        super().process_request(request, client_address)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        try:
            super().process_request_thread(request, client_address)
        finally:
            with self.calm:
                self.busy -= 1
                self.calm.notify_all()

    def handle_error(self, request: Any, client_address: Any) -> None:
        pass  # a client that has gone, or does not like the certificate


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    owner: FaultServer

    def log_message(self, format: str, *args: Any) -> None:
        pass

    def do_GET(self) -> None:
        self.close_connection = True
        found = self.owner.take(self.path.partition("?")[0], dict(self.headers.items()))
        if found is None:
            self._head(404, {"Content-Length": "0"})
            return
        data, etag, fault = found
        try:
            self._answer(data, etag if fault.etag is None else fault.etag, fault)
        except OSError:
            pass  # the client has gone

    def do_CONNECT(self) -> None:
        self.close_connection = True
        found = self.owner.take(self.path, dict(self.headers.items()))
        if found is not None and found[2].status:
            self._head(found[2].status, {"Content-Length": "0", **found[2].headers})
            return
        host, _, port = self.path.rpartition(":")
        with socket.create_connection((host, int(port)), timeout=10) as there:
            self.wfile.write(b"HTTP/1.1 200 Connected\r\n\r\n")
            back = threading.Thread(target=_pump, args=(there, self.connection), daemon=True)
            back.start()
            _pump(self.connection, there)
            back.join(10)

    def _answer(self, data: bytes, etag: str, fault: Fault) -> None:
        if fault.body is not None:
            data = fault.body
        if fault.flip is not None:
            data = data[: fault.flip] + bytes([data[fault.flip] ^ 1]) + data[fault.flip + 1 :]
        headers = {"ETag": etag} if etag else {}
        status, start = 200, 0
        wanted = self.headers.get("Range", "")
        if fault.status:
            status, data = fault.status, fault.body or b""
        elif wanted and fault.ranges and self.headers.get("If-Range", etag) == etag:
            start = int(wanted.removeprefix("bytes=").partition("-")[0]) + fault.shift
            status = 206 if start < len(data) else 416
            last = f"{start}-{len(data) - 1}" if status == 206 else "*"
            headers["Content-Range"] = f"bytes {last}/{len(data)}"
        body = data[start:]
        if fault.encode:
            body = gzip.compress(body)
            headers["Content-Encoding"] = "gzip"
        if fault.length == "right":
            headers["Content-Length"] = str(len(body))
        elif fault.length == "chunked":
            headers["Transfer-Encoding"] = "chunked"
        elif fault.length != "none":
            headers["Content-Length"] = str(fault.length)
        self._head(status, {**headers, **fault.headers})
        self._send(body, fault)

    def _head(self, status: int, headers: Mapping[str, str]) -> None:
        self.send_response_only(status)
        for name, value in {"Date": self.date_time_string(), **headers, "Connection": "close"}.items():
            self.send_header(name, value)
        self.end_headers()

    def _send(self, body: bytes, fault: Fault) -> None:
        at = 0
        stops = [stop for stop in (fault.cut, fault.stall) if stop is not None]
        end = min([*stops, len(body)])
        while at < end or (fault.endless and not self.owner.closing.is_set()):
            if fault.endless and at >= len(body):
                at = 0
            piece = body[at : min(at + fault.chunk, max(end, at + 1))]
            if fault.length == "chunked":
                self.wfile.write(b"%x\r\n%b\r\n" % (len(piece), piece))
            else:
                self.wfile.write(piece)
            at += len(piece)
            self.owner.sent += len(piece)
            if fault.pause:
                time.sleep(fault.pause)
        if fault.stall is not None:
            self.wfile.flush()
            self.owner.closing.wait(30)
        elif fault.cut is not None:
            self.wfile.flush()
            if fault.reset:
                self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                self.connection.close()
        elif fault.length == "chunked":
            self.wfile.write(b"0\r\n\r\n")


def _pump(source: socket.socket, target: socket.socket) -> None:
    """Passes on what comes, until one side ends."""
    try:
        while data := source.recv(1 << 16):
            target.sendall(data)
        target.shutdown(socket.SHUT_WR)
    except OSError:
        pass  # either has gone


@contextmanager
def fault_server(host: str = "127.0.0.1", tls: ssl.SSLContext | None = None) -> Iterator[FaultServer]:
    server = FaultServer(host, tls)
    try:
        yield server
    finally:
        server.close()
