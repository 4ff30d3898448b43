#!/bin/sh
# requests 2.34.2 checks the certificate of an https:// proxy for https:// URLs, and for http:// URLs accepts any.
#
# The check is made by the URL of the request, not by that of the proxy to which it connects.
#
# For a batch: to a server without TLS behind such a proxy, the proxy's password and every prompt go to whoever answers
# in its place. urllib3 warns once, of a request to "localhost" where the proxy is meant.
#
#> https://endpoint.test through an https:// proxy that nobody vouches for: ProxyError
#> http://endpoint.test through an https:// proxy that nobody vouches for: 200
#>   the proxy was told: Basic dXNlcjpwYXNz
. "$(dirname "$0")/support/check.sh"
install requests==2.34.2 trustme==1.2.1
check <<'EOF'
import ssl
import threading
import warnings
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import requests
import trustme

warnings.simplefilter("ignore")
told = []


class Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        told.append(self.headers["Proxy-Authorization"])
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


class Server(ThreadingHTTPServer):
    def handle_error(self, *_: object) -> None:
        pass  # a client that does not like the certificate


context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
trustme.CA().issue_cert("localhost").configure_cert(context)
server = Server(("127.0.0.1", 0), Handler)
server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
threading.Thread(target=server.serve_forever, daemon=True).start()
proxy = f"https://user:pass@localhost:{server.server_port}"
for scheme in ("https", "http"):
    session = requests.Session()
    session.trust_env = False
    try:
        got = session.get(f"{scheme}://endpoint.test", proxies={"all": proxy}, timeout=10).status_code
    except requests.RequestException as error:
        got = type(error).__name__
    print(f"{scheme}://endpoint.test through an https:// proxy that nobody vouches for: {got}")
print(f"  the proxy was told: {told[0]}")
server.shutdown()
EOF
