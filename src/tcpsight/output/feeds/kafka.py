"""JSON lines as messages to a topic of Kafka, keyed by service, so that those of one service keep their order."""

from __future__ import annotations

from collections.abc import Iterator
from time import monotonic
from typing import Any

from tcpsight.errors import UsageError, installing
from tcpsight.output.feeds.feed import DeliveryError
from tcpsight.output.feeds.lines import UpdateLines, told_services
from tcpsight.output.feeds.readings import ServiceNames
from tcpsight.output.feeds.targets import Target
from tcpsight.output.feeds.update import Update
from tcpsight.output.units import endpoint
from tcpsight.tables import KeyedIntervals

SEND_S = 10.0
"""How long the brokers may take to accept the messages of one update."""

STEP_S = 0.2
"""How soon an interruption is seen."""

FINDING_KEY = "finding"

ALLOWED = ("security.", "ssl.", "sasl.", "client.id", "compression.type", "acks", "test.mock.")
"""What the query of a target may set, by how it begins; the names are those of librdkafka."""


class Kafka:
    """Send lines to a topic.

    Parameters
    ----------
    target : Target
        Brokers and topic.
    with_findings : bool
        Whether findings are told.

    Raises
    ------
    UsageError
        If the library is not installed, or an option is none.
    """

    needs_totals = False

    def __init__(self, target: Target, *, with_findings: bool = False) -> None:
        try:
            from confluent_kafka import KafkaException, Producer
        except ImportError:
            raise UsageError(f"feed {target.name}: Kafka's client is needed: {installing('kafka')}") from None
        self.name = target.name
        self._topic = target.path
        self._lines = UpdateLines(with_findings=with_findings)
        self._names = ServiceNames(KeyedIntervals)
        self._reason = ""
        self._failed = 0
        self._is_interrupted = False
        wrong = [name for name in target.options if not name.startswith(ALLOWED)]
        if wrong:
            raise UsageError(f"feed {target.name}: {wrong[0]!r} cannot be set; {', '.join(ALLOWED)} can")
        settings: dict[str, Any] = {
            "bootstrap.servers": ",".join(endpoint(host, port) for host, port in target.hosts),
            "client.id": "tcpsight",
            "message.timeout.ms": int(SEND_S * 1000),
            # What went wrong is told by the feed.
            "log_level": 0,
            "error_cb": self._heard,
            **target.options,
        }
        try:
            self._producer = Producer(settings)
        except (KafkaException, ValueError) as error:
            told = error.args[0].str() if isinstance(error, KafkaException) else str(error)
            raise UsageError(f"feed {target.name}: {told}") from None

    def deliver(self, update: Update) -> None:
        """Send the messages of an update, and wait until the brokers have them."""
        from confluent_kafka import KafkaException

        self._failed, self._reason = 0, ""
        try:
            for key, line in self._messages(update):
                self._producer.produce(self._topic, line, key, on_delivery=self._delivered)
        except (KafkaException, BufferError) as error:
            self._producer.purge()
            raise DeliveryError(str(error)) from error
        until = monotonic() + SEND_S + 1
        while (left := self._producer.flush(STEP_S)) and monotonic() < until and not self._is_interrupted:
            pass
        if left:
            # What is on its way may arrive all the same, and again when the update is sent again.
            self._producer.purge()
            self._producer.poll(0)
        if left or self._failed:
            raise DeliveryError(self._reason or "not accepted in time")

    def interrupt(self) -> None:
        """Wait no longer."""
        self._is_interrupted = True

    def close(self) -> None:
        """Give up what is left."""
        self._producer.purge()

    def _messages(self, update: Update) -> Iterator[tuple[str, bytes]]:
        """Give each line with its key."""
        told = told_services(update.services)
        yield from zip(self._names.of(told), self._lines.of_services(told).splitlines(), strict=True)
        for line in self._lines.of_findings(update.findings).splitlines():
            yield FINDING_KEY, line

    def _heard(self, error: Any) -> None:
        self._reason = error.str()

    def _delivered(self, error: Any, _message: Any) -> None:
        if error is not None:
            self._failed += 1
            self._reason = self._reason or error.str()
