"""What goes between the Session of `requests` and an adapter of ours."""

from __future__ import annotations

import requests

from pipeline.transport.reply import RawReply, Watch


class WatchedRequest(requests.PreparedRequest):
    """What the session gives to an adapter: a request with the watch over its attempt."""

    watch: Watch


class ReplyResponse(requests.Response):
    """What an adapter gives to the session: `reply` is complete, and nothing is left to read."""

    def __init__(self, reply: RawReply) -> None:
        super().__init__()
        self.status_code = reply.status
        self.reply = reply
