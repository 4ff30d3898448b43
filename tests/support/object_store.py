"""A server that speaks as much of S3's language as the program does, keeps objects in memory, and can fail."""

from __future__ import annotations

import hashlib
import re
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from urllib.parse import parse_qs, unquote, urlsplit
from xml.sax.saxutils import escape

from tests.support.web import WebServer

KEY_ID, SECRET = "AKIDEXAMPLE0001", "wJalrXUtnFEMIEXAMPLEKEY0001"


@dataclass(frozen=True)
class Stored:
    """An object: its bytes, and its metadata by header."""

    data: bytes
    metadata: Mapping[str, str]
    etag: str

    @classmethod
    def of(cls, data: bytes, metadata: Mapping[str, str]) -> Stored:
        """An object that came in one piece."""
        return cls(data, metadata, f'"{hashlib.md5(data).hexdigest()}"')


@dataclass
class Upload:
    """An upload in parts that is open."""

    key: str
    metadata: Mapping[str, str]
    parts: dict[int, bytes] = field(default_factory=dict)


@dataclass(frozen=True)
class Refusal:
    """An error reply. With `after` the request is carried out before it."""

    status: int
    code: str
    message: str = "as the test wants it"
    after: bool = False


class ObjectStore:
    """`objects` and `uploads` are what is in its one bucket, `asked` the operations so far, each with its key.

    `fault` may return a refusal for an operation and its key, and may wait or do something else before.
    """

    def __init__(self, bucket: str = "data") -> None:
        self.bucket = bucket
        self.objects: dict[str, Stored] = {}
        self.uploads: dict[str, Upload] = {}
        self.asked: list[tuple[str, str]] = []
        self.fault: Callable[[str, str], Refusal | None] = lambda operation, key: None
        self.lock = threading.RLock()
        store = self

        class Handler(_Handler):
            pass

        Handler.store = store
        self._server = WebServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.address = f"http://127.0.0.1:{self._server.server_address[1]}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)
        self._thread.start()

    def environment(self) -> dict[str, str]:
        """What a program needs in its environment to reach it."""
        return {
            "AWS_ENDPOINT_URL_S3": self.address,
            "AWS_ACCESS_KEY_ID": KEY_ID,
            "AWS_SECRET_ACCESS_KEY": SECRET,
            "AWS_EC2_METADATA_DISABLED": "true",
        }

    def put(self, key: str, data: bytes) -> None:
        """Put an object there, as another program would."""
        self.objects[key] = Stored.of(data, {})

    @staticmethod
    def upload_of(key: str) -> Upload:
        """An open upload of an object."""
        return Upload(key, {})

    def close(self) -> None:
        """Stop."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    store: ObjectStore

    def log_message(self, *_: object) -> None:
        pass

    def handle(self) -> None:
        try:
            super().handle()
        except ConnectionError:
            self.close_connection = True

    def _serve(self) -> None:
        parts = urlsplit(self.path)
        query = {name: values[0] for name, values in parse_qs(parts.query, keep_blank_values=True).items()}
        bucket, _, key = unquote(parts.path).lstrip("/").partition("/")
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        operation = self._operation(query, key)
        self.store.asked.append((operation, key))
        refusal = self.store.fault(operation, key)
        if refusal is None and f"Credential={KEY_ID}/" not in (self.headers.get("Authorization") or ""):
            refusal = Refusal(403, "InvalidAccessKeyId", "The key ID you provided is not in our records.")
        if refusal is None and bucket != self.store.bucket:
            refusal = Refusal(404, "NoSuchBucket", "The specified bucket does not exist")
        signed = self.headers.get("x-amz-content-sha256", "UNSIGNED")
        if refusal is None and not signed.startswith("UNSIGNED") and hashlib.sha256(body).hexdigest() != signed:
            refusal = Refusal(400, "XAmzContentSHA256Mismatch")
        with self.store.lock:
            if refusal is None:
                getattr(self, operation)(query, key, body)
                return
            if refusal.after:
                self._quiet = True
                getattr(self, operation)(query, key, body)
                self._quiet = False
        self._refuse(refusal)

    do_GET = do_PUT = do_POST = do_DELETE = do_HEAD = _serve
    _quiet = False

    def _operation(self, query: Mapping[str, str], key: str) -> str:
        uploads = {
            ("POST", "uploads"): "begin",
            ("PUT", "uploadId"): "part",
            ("POST", "uploadId"): "complete",
            ("DELETE", "uploadId"): "abort",
            ("GET", "uploads"): "list_uploads",
            ("GET", "list-type"): "list",
        }
        found = next(
            (name for (method, word), name in uploads.items() if self.command == method and word in query), None
        )
        return found or {"GET": "get", "HEAD": "head", "PUT": "put", "DELETE": "delete"}[self.command]

    def _reply(self, status: int, body: bytes = b"", headers: Mapping[str, str] | None = None) -> None:
        if self._quiet:
            return
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        if "Content-Length" not in (headers or {}):
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def _refuse(self, refusal: Refusal) -> None:
        text = f"<Error><Code>{refusal.code}</Code><Message>{escape(refusal.message)}</Message></Error>"
        self._reply(refusal.status, text.encode())

    def _holds(self, key: str) -> bool:
        """Whether the condition of a write holds; says so where it does not."""
        standing = self.store.objects.get(key)
        if self.headers.get("If-None-Match") == "*" and standing is not None:
            self._refuse(Refusal(412, "PreconditionFailed"))
        elif (mark := self.headers.get("If-Match")) and standing is None:
            self._refuse(Refusal(404, "NoSuchKey"))
        elif mark and standing is not None and standing.etag != mark:
            self._refuse(Refusal(412, "PreconditionFailed"))
        else:
            return True
        return False

    def _metadata(self) -> dict[str, str]:
        return {name: value for name, value in self.headers.items() if name.lower().startswith("x-amz-meta-")}

    def head(self, query: Mapping[str, str], key: str, body: bytes) -> None:
        found = self.store.objects.get(key)
        if found is None:
            self._reply(404)
            return
        self._reply(200, b"", {"Content-Length": str(len(found.data)), "ETag": found.etag, **found.metadata})

    def get(self, query: Mapping[str, str], key: str, body: bytes) -> None:
        found = self.store.objects.get(key)
        if found is None:
            self._refuse(Refusal(404, "NoSuchKey"))
            return
        if (mark := self.headers.get("If-Match")) and mark != found.etag:
            self._refuse(Refusal(412, "PreconditionFailed"))
            return
        first, last = re.fullmatch(r"bytes=(\d+)-(\d+)", self.headers["Range"]).groups()  # type: ignore[union-attr]
        self._reply(206, found.data[int(first) : int(last) + 1], {"ETag": found.etag})

    def put(self, query: Mapping[str, str], key: str, body: bytes) -> None:
        if self._holds(key):
            self.store.objects[key] = Stored.of(body, self._metadata())
            self._reply(200, b"", {"ETag": self.store.objects[key].etag})

    def delete(self, query: Mapping[str, str], key: str, body: bytes) -> None:
        self.store.objects.pop(key, None)
        self._reply(204)

    def begin(self, query: Mapping[str, str], key: str, body: bytes) -> None:
        number = f"upload-{len(self.store.asked)}"
        self.store.uploads[number] = Upload(key, self._metadata())
        self._reply(200, f"<Result><UploadId>{number}</UploadId></Result>".encode())

    def part(self, query: Mapping[str, str], key: str, body: bytes) -> None:
        self.store.uploads[query["uploadId"]].parts[int(query["partNumber"])] = body
        self._reply(200, b"", {"ETag": f'"part-{query["partNumber"]}"'})

    def complete(self, query: Mapping[str, str], key: str, body: bytes) -> None:
        if query["uploadId"] not in self.store.uploads:
            self._refuse(Refusal(404, "NoSuchUpload"))
        elif self._holds(key):
            upload = self.store.uploads.pop(query["uploadId"])
            data = b"".join(upload.parts[number] for number in sorted(upload.parts))
            self.store.objects[key] = Stored(
                data, upload.metadata, f'"of-{len(upload.parts)}-parts-{len(self.store.asked)}"'
            )
            self._reply(200, f"<Result><ETag>{self.store.objects[key].etag}</ETag></Result>".encode())

    def abort(self, query: Mapping[str, str], key: str, body: bytes) -> None:
        if self.store.uploads.pop(query["uploadId"], None) is None:
            self._refuse(Refusal(404, "NoSuchUpload"))
        else:
            self._reply(204)

    def list_uploads(self, query: Mapping[str, str], key: str, body: bytes) -> None:
        found = "".join(
            f"<Upload><Key>{escape(one.key)}</Key><UploadId>{number}</UploadId></Upload>"
            for number, one in self.store.uploads.items()
            if one.key.startswith(query.get("prefix", ""))
        )
        self._reply(200, f"<ListMultipartUploadsResult>{found}</ListMultipartUploadsResult>".encode())

    def list(self, query: Mapping[str, str], key: str, body: bytes) -> None:
        names = sorted(name for name in self.store.objects if name.startswith(query.get("prefix", "")))
        found = "".join(f"<Contents><Key>{escape(name)}</Key></Contents>" for name in names)
        self._reply(200, f"<ListBucketResult><IsTruncated>false</IsTruncated>{found}</ListBucketResult>".encode())
