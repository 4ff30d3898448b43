#!/bin/sh
# requests 2.34.2 reads the body of a redirect that it was told not to follow, and whole, though it was told to stream.
#
# `allow_redirects=False` still prepares the request that would follow, for `Response.next`, and reads the body for it.
#
# For a batch: `stream=True` bounds the memory of every reply but this one, and a redirect without end takes it all.
#
#> 200, stream=True: send() returns after 0 MB of the body
#> 302, stream=True, allow_redirects=False: send() returns after 64 MB of the body
#> 302 without Location, stream=True, allow_redirects=False: send() returns after 0 MB of the body
. "$(dirname "$0")/support/check.sh"
install requests==2.34.2
check <<'EOF'
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import requests

MEGABYTES = 64


class Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(int(self.path[1:4]))
        if self.path.endswith("to"):
            self.send_header("Location", "/elsewhere")
        self.send_header("Content-Length", str(MEGABYTES * 10**6))
        self.end_headers()
        try:
            for _ in range(MEGABYTES):
                self.wfile.write(b"x" * 10**6)
        except OSError:
            pass

    def log_message(self, *_: object) -> None:
        pass


server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
threading.Thread(target=server.serve_forever, daemon=True).start()
with requests.Session() as session:
    for path, words, options in (
        ("/200", "200, stream=True", {}),
        ("/302to", "302, stream=True, allow_redirects=False", {"allow_redirects": False}),
        ("/302", "302 without Location, stream=True, allow_redirects=False", {"allow_redirects": False}),
    ):
        reply = session.get(f"http://127.0.0.1:{server.server_port}{path}", stream=True, **options)
        read = len(reply.content) if reply._content_consumed else 0
        print(f"{words}: send() returns after {read // 10**6} MB of the body")
        reply.close()
server.shutdown()
EOF
