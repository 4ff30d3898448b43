"""Stores that others wrote, as servers on this machine, and a proxy before them at which a run can be killed."""

from __future__ import annotations

import http.client
import os
import re
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from pipeline.storage import DEFAULT_OPTIONS, StorePath, storage_of
from tests.support.web import WebServer

ROOT = Path(__file__).parents[2]
BUCKET = "data"
AZURE_KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="
"""The key of the emulator's only account, which its documentation names."""


@dataclass
class Store:
    """A store: its scheme, and how its address stands in an environment."""

    scheme: str
    port: int
    environment: Callable[[int], Mapping[str, str]]
    lists_uploads: bool = False

    def path(self, key: str) -> str:
        return f"{self.scheme}://{BUCKET}/{key}"

    @contextmanager
    def known(self, port: int | None = None) -> Iterator[None]:
        """Have this process reach the store."""
        before = dict(os.environ)
        os.environ.update(self.environment(port or self.port))
        try:
            yield
        finally:
            os.environ.clear()
            os.environ.update(before)

    def stored(self, key: str, work: Path) -> StorePath:
        return StorePath(self.scheme, BUCKET, key, DEFAULT_OPTIONS, work)

    def put(self, key: str, file: Path) -> None:
        with self.known():
            path = self.stored(key, file.parent / "nowhere")
            facts = storage_of(path).facts(path)
            assert storage_of(path).put(path, file, None if facts is None else facts.version)

    def get(self, key: str) -> bytes | None:
        with self.known():
            path = self.stored(key, Path("nowhere"))
            if storage_of(path).version(path) is None:
                return None
            with storage_of(path).open(path) as file:
                return file.read()

    def clear(self) -> None:
        with self.known():
            path = self.stored("", Path("nowhere"))
            for key in storage_of(path).keys(path):
                storage_of(path).remove(path.with_key(key))

    def open_uploads(self) -> list[str]:
        """The uploads that are open, by the store's own list."""
        if not self.lists_uploads:
            return []
        import botocore.session

        with self.known():
            found = botocore.session.get_session().create_client("s3").list_multipart_uploads(Bucket=BUCKET)
        return [one["UploadId"] for one in found.get("Uploads", ())]


def _aws(key: str, secret: str) -> Callable[[int], Mapping[str, str]]:
    return lambda port: {
        "AWS_ENDPOINT_URL_S3": f"http://127.0.0.1:{port}",
        "AWS_ACCESS_KEY_ID": key,
        "AWS_SECRET_ACCESS_KEY": secret,
        "AWS_REGION": "us-east-1",
    }


def _azure(port: int) -> Mapping[str, str]:
    address = f"http://127.0.0.1:{port}/devstoreaccount1"
    account = f"DefaultEndpointsProtocol=http;AccountName=devstoreaccount1;AccountKey={AZURE_KEY}"
    return {"AZURE_STORAGE_CONNECTION_STRING": f"{account};BlobEndpoint={address};"}


@contextmanager
def _moto() -> Iterator[Store]:
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    store = Store("s3", server.get_host_and_port()[1], _aws("testing", "testing"), lists_uploads=True)
    try:
        _make_bucket(store)
        yield store
    finally:
        server.stop()


@contextmanager
def _s3rver(directory: Path) -> Iterator[Store]:
    port = _free_port()
    program = [_node("s3rver"), "-d", str(directory), "-a", "127.0.0.1", "-p", str(port), "--no-vhost-buckets"]
    with _process(program, port):
        store = Store("s3", port, _aws("S3RVER", "S3RVER"))
        _make_bucket(store)
        yield store


@contextmanager
def _azurite(directory: Path) -> Iterator[Store]:
    port = _free_port()
    program = [_node("azurite-blob"), "--blobHost", "127.0.0.1", "--blobPort", str(port), "--skipApiVersionCheck"]
    with _process([*program, "--silent", "--location", str(directory)], port):
        from azure.storage.blob import BlobServiceClient

        text = _azure(port)["AZURE_STORAGE_CONNECTION_STRING"]
        BlobServiceClient.from_connection_string(text).create_container(BUCKET)
        yield Store("abfs", port, _azure)


@contextmanager
def _google() -> Iterator[Store]:
    port = _free_port()
    program = "from gcp_storage_emulator.server import create_server as c;"
    program += f"c('127.0.0.1', {port}, in_memory=True, default_bucket='{BUCKET}').run()"
    with _process([sys.executable, "-c", program], port):
        yield Store("gs", port, lambda port: {"STORAGE_EMULATOR_HOST": f"http://127.0.0.1:{port}"})


@pytest.fixture(scope="session", params=["moto", "s3rver", "azurite", "google"])
def a_store(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    directory = tmp_path_factory.mktemp("store")
    stores = {
        "moto": _moto,
        "s3rver": lambda: _s3rver(directory),
        "azurite": lambda: _azurite(directory),
        "google": _google,
    }
    with stores[request.param]() as store:
        yield store


@pytest.fixture
def store(a_store: Store) -> Store:
    a_store.clear()
    return a_store


@dataclass
class Proxy:
    """Passes requests on to a store. Of those that change something, the one with the number `kill_at` (from 0) kills
    `victim`: in its place, or once it is done, before the reply is passed on.
    """

    to: int
    kill_at: int | None = None
    is_after: bool = False
    victim: subprocess.Popen[bytes] | None = None
    writes: list[str] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)
    port: int = 0

    def begin(self) -> None:
        proxy = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *_: object) -> None:
                pass

            def handle(self) -> None:
                try:
                    super().handle()
                except OSError:
                    self.close_connection = True

            def _serve(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                is_victim = False
                if self.command not in ("GET", "HEAD"):
                    with proxy.lock:
                        is_victim = len(proxy.writes) == proxy.kill_at
                        query = re.sub(r"=[^&]*", "", urlsplit(self.path).query)
                        proxy.writes.append(f"{self.command} {query}")
                if is_victim and not proxy.is_after:
                    proxy.kill()
                    self.close_connection = True
                    return
                connection = http.client.HTTPConnection("127.0.0.1", proxy.to, timeout=60)
                connection.putrequest(self.command, self.path, skip_host=True, skip_accept_encoding=True)
                for name, value in self.headers.items():
                    if name.lower() not in ("expect", "connection"):
                        connection.putheader(name, value)
                connection.endheaders(body)
                reply = connection.getresponse()
                data = reply.read()
                connection.close()
                if is_victim:
                    proxy.kill()
                self.send_response_only(reply.status, reply.reason)
                for name, value in reply.getheaders():
                    if name.lower() not in ("connection", "transfer-encoding", "content-length"):
                        self.send_header(name, value)
                length = reply.getheader("Content-Length") if self.command == "HEAD" else str(len(data))
                self.send_header("Content-Length", length or "0")
                self.end_headers()
                if self.command != "HEAD":
                    self.wfile.write(data)

            do_GET = do_PUT = do_POST = do_DELETE = do_HEAD = do_PATCH = _serve

        self._server = WebServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.port = self._server.server_address[1]
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()

    def kill(self) -> None:
        """Kill the victim, and wait until it is gone."""
        while self.victim is None:
            time.sleep(0.01)
        self.victim.kill()
        self.victim.wait()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def proxy(store: Store) -> Iterator[Callable[..., Proxy]]:
    made: list[Proxy] = []

    def make(kill_at: int | None = None, is_after: bool = False) -> Proxy:
        made.append(Proxy(store.port, kill_at, is_after))
        made[-1].begin()
        return made[-1]

    yield make
    for one in made:
        one.close()


def _make_bucket(store: Store) -> None:
    import botocore.session

    with store.known():
        botocore.session.get_session().create_client("s3").create_bucket(Bucket=BUCKET)


def _node(name: str) -> str:
    return str(ROOT / ".venv/stores/node_modules/.bin" / name)


def _free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port: int = found.getsockname()[1]
        return port


@contextmanager
def _process(program: list[str], port: int) -> Iterator[None]:
    process = subprocess.Popen(program, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        end = time.monotonic() + 60
        while time.monotonic() < end:
            with socket.socket() as trying:
                if trying.connect_ex(("127.0.0.1", port)) == 0:
                    break
            assert process.poll() is None, f"{program[0]} has ended"
            time.sleep(0.1)
        yield
    finally:
        process.kill()
        process.wait()
