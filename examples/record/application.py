#!/usr/bin/env python3
"""An application server for nginx to stand before: every page takes about 5 ms.

application.py PORT
"""

import sys
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

PAGE = bytes(200)


class Page(BaseHTTPRequestHandler):
    """Answer whatever is asked."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = -1  # head and page in one segment

    def do_GET(self) -> None:
        time.sleep(0.005)
        self.send_response(200)
        self.send_header("Content-Length", str(len(PAGE)))
        self.end_headers()
        self.wfile.write(PAGE)

    def log_message(self, format: str, *args: object) -> None:
        pass


ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Page).serve_forever()
