"""Tells a check in the style of healthchecks.io, and a webhook, how a run goes (https://healthchecks.io/docs/http_api/).

What is sent are figures, names and stable words and never a sentence, which might repeat a prompt or an answer.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Mapping
from urllib.parse import urlsplit, urlunsplit

import requests
from tenacity import (
    Retrying,
    retry_if_exception_type,
    retry_if_result,
    stop_before_delay,
    wait_random_exponential,
)

from pipeline.addresses import is_loopback
from pipeline.app.observe.expectation import Exceeded
from pipeline.app.observe.summary import Summary
from pipeline.config import NotifyConfig
from pipeline.version import __version__

MOST_SECONDS = 5.0
"""How long a run waits for each of its messages, from looking up the host's name to the status of the reply."""


class Post:
    """A POST under way, in a thread of its own, so that nothing it meets can hold up the run. `what` names it."""

    def __init__(self, what: str, url: str, body: str, content_type: str) -> None:
        self.what = what
        self._fault: str | None = f"no reply within {MOST_SECONDS:g} s"
        self._ends_at = time.monotonic() + MOST_SECONDS
        headers = {"Content-Type": content_type, "User-Agent": f"llm-batch-pipeline/{__version__}"}
        self._thread = threading.Thread(target=self._send, args=(url, body.encode(), headers), daemon=True)

    @classmethod
    def start(cls, what: str, url: str, body: str, content_type: str) -> Post:
        """Send a message and return it while it is under way."""
        post = cls(what, url, body, content_type)
        post._thread.start()
        return post

    def fault(self) -> str | None:
        """Wait for the reply; what went wrong, without the address, or None."""
        self._thread.join(max(0.0, self._ends_at - time.monotonic()))
        return None if self._fault is None else f"{self.what}: {self._fault}"

    def _send(self, url: str, body: bytes, headers: dict[str, str]) -> None:
        # A message may arrive twice, so what fails for a transient cause is sent again while there is time.
        passing = Retrying(
            retry=retry_if_exception_type(requests.ConnectionError) | retry_if_result(_is_passing),
            wait=wait_random_exponential(multiplier=0.1, max=1),
            stop=stop_before_delay(MOST_SECONDS),
            reraise=True,
            retry_error_callback=lambda state: state.outcome.result() if state.outcome else None,
        )
        try:
            status = passing(self._post, url, body, headers)
            self._fault = None if status < 300 else f"HTTP {status}"
        except Exception as error:  # its text holds the address
            self._fault = type(error).__name__

    def _post(self, url: str, body: bytes, headers: dict[str, str]) -> int:
        left = max(0.1, self._ends_at - time.monotonic())
        with requests.Session() as session:
            # To this machine without a proxy, as requests to the endpoint go.
            session.trust_env = not is_loopback(urlsplit(url).hostname or "")
            with session.post(url, body, headers=headers, timeout=left, allow_redirects=False, stream=True) as reply:
                return reply.status_code


def _is_passing(status: int) -> bool:
    return status == 429 or status >= 500


class Notifier:
    """One run's messages."""

    def __init__(self, notify: NotifyConfig, job: str) -> None:
        self._notify = notify
        self._job = job
        self._under_way: list[Post] = []

    def started(self) -> None:
        """Tell that a run has begun; waits for nothing."""
        if self._notify.ping_url is not None:
            self._under_way.append(_ping(_below(self._notify.ping_url, "start"), self._job))

    def exceeded(self, summary: Summary, exceeded: Exceeded) -> None:
        """Tell the webhook that a run has left the range of its estimate; waits for nothing."""
        if self._notify.webhook_url is not None:
            data = {**summary.as_json(), "exceeded": exceeded.as_json()}
            self._under_way.append(_hook(self._notify.webhook_url, data))

    def ended(self, summary: Summary) -> list[str]:
        """Report how the run ended, after its start was reported. Returns what could not be delivered, for a log.

        The webhook hears nothing of a run that had nothing to send, as nobody does in cron.
        """
        messages = []
        faults = [message.fault() for message in self._under_way]
        ping_url, webhook_url = self._notify.ping_url, self._notify.webhook_url
        if ping_url is not None:
            messages.append(_ping(_below(ping_url, "fail") if summary.exit_code else ping_url, ping_text(summary)))
        if webhook_url is not None and not (summary.is_idle and summary.error is None):
            messages.append(_hook(webhook_url, webhook_data(summary)))
        return [fault for fault in (*faults, *(message.fault() for message in messages)) if fault is not None]


def ping_text(summary: Summary) -> str:
    """Return the one line that a check shows about the end of a run."""
    cause = summary.status if summary.error is None else f"{summary.status} ({summary.error.kind})"
    counts = (
        "rows unknown"
        if summary.rows is None
        else f"{summary.succeeded} answered, {summary.failed} failed, {summary.pending} pending of {summary.rows} rows"
    )
    return f"{summary.job}: exit {summary.exit_code}: {cause}: {counts}"


def webhook_data(summary: Summary) -> dict[str, object]:
    """Return the summary as `--json` prints it, with the exit code, and only the kind of an error."""
    data = {**summary.as_json(), "exit_code": summary.exit_code}
    return data if summary.error is None else {**data, "error": {"kind": summary.error.kind}}


def _ping(url: str, text: str) -> Post:
    return Post.start("notify.ping_url", url, text, "text/plain; charset=utf-8")


def _hook(url: str, data: Mapping[str, object]) -> Post:
    return Post.start("notify.webhook_url", url, json.dumps(data, ensure_ascii=False), "application/json")


def _below(url: str, name: str) -> str:
    """Return the address with one more segment in its path; a query is kept."""
    parts = urlsplit(url)
    return urlunsplit(parts._replace(path=f"{parts.path.rstrip('/')}/{name}"))
