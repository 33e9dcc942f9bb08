"""Delivers queued events to their targets, at least once each.

What holds, whatever fails:

* An event leaves with the same ``webhook-id`` on every attempt, and with the same body unless
  somebody in it was erased in between.
* A delivery is leased before it is sent: two relays never work on it at once, and when one dies
  in between, the lease runs out and another sends it again.
* Each target has its own lane: a slow one delays nobody else.
* An attempt ends as delivered (2xx), dead (410, what cannot be told as an event, or no attempt
  left) or postponed. Nothing is dropped without the queue being told.
* No error leaves the loop: the registry's work must not depend on who listens.
"""

from __future__ import annotations

import logging
import secrets
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime, timedelta
from email.utils import parsedate_to_datetime

import requests

from mlflow_governance.core import moment
from mlflow_governance.errors import ConfigurationError, GovernanceError
from mlflow_governance.outbox import cloudevents, signing
from mlflow_governance.outbox.interface import Target
from mlflow_governance.outbox.session import new_session
from mlflow_governance.workflows.queue import Delivery, Queue

MAX_RETRY_AFTER_SECONDS = 6 * 3600.0
"""A receiver may ask for patience, but not put off a revocation for days."""

_log = logging.getLogger(__name__)
_MAX_EXCERPT = 300  # bytes of a refusal kept for the operator; nothing else of a body is read
_MAX_ERROR = 1000  # characters of an error kept in the queue
_GONE = 410
_random = secrets.SystemRandom()


@dataclass(frozen=True)
class RelayOptions:
    """How patient a relay is."""

    retry_delays: tuple[float, ...] = (
        5, 30, 120, 600, 3600, 3 * 3600, 6 * 3600, 12 * 3600, 24 * 3600, 24 * 3600,
    )  # fmt: skip
    """Seconds before the second, third, … attempt; after the last of them a delivery is dead."""
    jitter: float = 0.2
    """Share of the delay added at random, so that a receiver coming back is not overrun."""
    batch: int = 8
    """Deliveries leased at once for one target."""
    lease_margin_seconds: float = 30.0
    """Lease beyond the time a whole batch of timeouts takes."""
    poll_seconds: float = 1.0
    """Pause of a lane that found nothing to deliver."""
    ca_bundle: str = ""
    """A PEM file of authorities to trust for https targets instead of the public ones."""


@dataclass(frozen=True, slots=True)
class _Outcome:
    """What became of one attempt; ``error`` is empty when the target took the event."""

    status: int | None
    error: str = ""
    patience: float = 0.0
    """Seconds the receiver asks us to wait."""


class Relay:
    """Takes events from the queue to their targets.

    Args:
        queue: the durable queue, shared with every other relay of the registry.
        targets: the receivers; names are unique.
        source: the CloudEvents source, from :func:`cloudevents.source_of`.
        options: delays and bounds.
        clock: the moment leases, timestamps and retries are counted from.

    Raises:
        ConfigurationError: two targets share a name.
    """

    def __init__(
        self,
        queue: Queue,
        targets: Sequence[Target],
        source: str,
        options: RelayOptions | None = None,
        clock: Callable[[], datetime] = moment.now,
    ) -> None:
        if len({target.name for target in targets}) != len(targets):
            raise ConfigurationError("two webhook targets have the same name")
        self._queue = queue
        self._source = source
        self._options = options or RelayOptions()
        self._clock = clock
        self._lanes = [(target, new_session(self._options.ca_bundle)) for target in targets]

    def run_once(self) -> int:
        """One turn for every target, side by side; returns how many deliveries got their 2xx."""
        if not self._lanes:
            return 0
        never = threading.Event()
        with ThreadPoolExecutor(len(self._lanes), thread_name_prefix="outbox") as pool:
            turns = [pool.submit(self._turn, *lane, never) for lane in self._lanes]
            return sum(turn.result() for turn in turns)

    def run(self, stop: threading.Event) -> None:
        """Deliver until ``stop`` is set; the attempt in hand is finished first."""
        threads = [
            threading.Thread(
                target=self._loop, args=(*lane, stop), name=f"outbox-{lane[0].name}", daemon=True
            )
            for lane in self._lanes
        ]
        for thread in threads:
            thread.start()
        stop.wait()
        for (target, _), thread in zip(self._lanes, threads, strict=True):
            # Connecting and answering may each take the timeout. A receiver that trickles its
            # answer for longer is left to the daemon thread and to the lease.
            thread.join(2 * target.timeout_seconds + 1)

    def _loop(self, target: Target, session: requests.Session, stop: threading.Event) -> None:
        while not stop.is_set():
            # Also pauses when everything failed: a receiver that is down is not hurried.
            if not self._turn(target, session, stop):
                stop.wait(self._options.poll_seconds)

    def _turn(self, target: Target, session: requests.Session, stop: threading.Event) -> int:
        """Claim one batch for one target and send it; returns how many it took."""
        lease = 2 * self._options.batch * target.timeout_seconds
        lease += self._options.lease_margin_seconds
        started, delivered = time.monotonic(), 0
        try:
            self._queue.enqueue_missing([target])
            claimed = self._queue.claim([target.name], self._options.batch, lease, self._clock())
            for delivery in claimed:
                # Never send on a lease another relay may already hold.
                late = time.monotonic() - started + 2 * target.timeout_seconds > lease
                if late or stop.is_set():
                    break
                delivered += self._deliver(target, session, delivery)
        except Exception:
            # The database is away, or the queue is broken: both mend without this process ending.
            _log.exception("outbox: target %s gets nothing for now", target.name)
        return delivered

    def _deliver(self, target: Target, session: requests.Session, delivery: Delivery) -> bool:
        """Send one event and tell the queue how it went; True when the target took it."""
        if delivery.problem:
            return self._fail(
                delivery, _Outcome(None, f"not deliverable: {delivery.problem}"), None
            )
        try:
            body = cloudevents.encode(delivery.body, self._source)
        except GovernanceError as error:
            return self._fail(delivery, _Outcome(None, f"not deliverable: {error.message}"), None)
        try:
            outcome = self._post(target, session, delivery.event_id, body)
        except Exception as error:
            # requests lets a few foreign exceptions through; a lease must be settled all the same.
            outcome = _Outcome(None, f"{type(error).__name__}: {error}")
        if outcome.status is not None and not outcome.error:
            self._queue.delivered(delivery, outcome.status)
            return True
        retry_at = None if outcome.status == _GONE else self._retry_at(delivery, outcome.patience)
        return self._fail(delivery, outcome, retry_at)

    def _post(
        self, target: Target, session: requests.Session, event_id: str, body: bytes
    ) -> _Outcome:
        now = self._clock()
        headers = signing.sign(signing.keys_of(target.secret), event_id, now, body)
        with session.post(
            target.url,
            data=body,
            headers={"Content-Type": cloudevents.CONTENT_TYPE, **headers},
            timeout=target.timeout_seconds,
            allow_redirects=False,  # Standard Webhooks, "Delivery success and failure": 3xx fails
            stream=True,
        ) as response:
            status = response.status_code
            if 200 <= status < 300:
                return _Outcome(status)
            patience = retry_after(response.headers.get("Retry-After", ""), now)
            return _Outcome(status, f"HTTP {status} {_excerpt(response)}".strip(), patience)

    def _retry_at(self, delivery: Delivery, patience: float) -> datetime | None:
        """When to try again, or None when no attempt is left."""
        delays = self._options.retry_delays
        if delivery.attempts > len(delays):
            return None
        delay = delays[delivery.attempts - 1]
        delay += delay * self._options.jitter * _random.random()
        return self._clock() + timedelta(seconds=max(delay, patience))

    def _fail(self, delivery: Delivery, outcome: _Outcome, retry_at: datetime | None) -> bool:
        then = f"again at {moment.to_text(retry_at)}" if retry_at else "given up"
        _log.warning(
            "outbox: event %s to %s: %s; %s",
            delivery.event_id, delivery.target, outcome.error, then,
        )  # fmt: skip
        self._queue.failed(delivery, outcome.error[:_MAX_ERROR], retry_at, outcome.status)
        return False


def retry_after(header: str, now: datetime) -> float:
    """Seconds a ``Retry-After`` header asks for (RFC 9110, section 10.2.3), within our bounds.

    Returns:
        0 to :data:`MAX_RETRY_AFTER_SECONDS`; 0 for a header that is absent or makes no sense.
    """
    text = header.strip()
    try:
        if text.isascii() and text.isdigit():
            seconds = float(text)
        else:
            asked = parsedate_to_datetime(text)
            seconds = (asked - now).total_seconds() if asked.tzinfo else 0.0
    except (ValueError, TypeError, OverflowError):
        return 0.0
    return min(max(seconds, 0.0), MAX_RETRY_AFTER_SECONDS)


def _excerpt(response: requests.Response) -> str:
    """The first bytes of an answer, printable, from at most one read."""
    try:
        raw: bytes = response.raw.read1(_MAX_EXCERPT)
    except Exception:  # urllib3's own errors, an odd transfer coding: the status says enough
        return response.reason or ""
    text = raw.decode("utf-8", "replace")
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())
