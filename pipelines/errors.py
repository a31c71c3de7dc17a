"""Every error the platform raises on purpose.

::

    SdpError
    ├── UsageError                 exit 2   the caller asked for something impossible
    │   ├── InvalidSetting
    │   ├── InvalidFile                     a file of ours can't be used: path, line and reason
    │   │   ├── InvalidRuleFile
    │   │   ├── InvalidRecipe
    │   │   └── InvalidExpectations
    │   ├── CheckpointLost                  the ledger knows more than the checkpoint; `--recover` is the way out
    │   ├── AlreadyRunning                  another copy of the job holds the lease
    │   ├── ContractViolation               a record breaks schema or rules before it was ever sent
    │   ├── UnknownEventType                an event of a type that no topic is for
    │   ├── RecordRefused                   Kafka will never take this record: its topic, its rights or its content
    │   │   └── RecordTooLarge
    │   ├── ProducerClosed
    │   ├── ForkedProducer                  a producer made before a fork was used after it
    │   └── SpoolInUse                      another process holds the spool folder
    ├── DataProblem                exit 1   the data is not what it must be
    │   ├── NotConserved                    offsets read ≠ valid + invalid + known gaps
    │   ├── OffsetsLost                     Kafka no longer holds offsets that nobody has read
    │   ├── RecordDropped                   given up for newer ones: the spool is full and its policy is drop_oldest
    │   └── RecordUnreadable                the disk under a spool gives back other bytes than were written
    └── Unavailable (Transient)    exit 3   infrastructure is away; a retry helps
        ├── BrokerUnavailable
        ├── RegistryUnavailable
        ├── MetastoreUnavailable
        ├── SinkUnavailable
        │   └── IndexReadOnly               a daily index that is past its hot phase, or was blocked by somebody
        ├── NotAcknowledged                 Kafka has not answered in time; the record may still arrive
        ├── StillSpooled                    not delivered when its producer closed; the next one sends it
        ├── SpoolUnavailable                the disk under a spool does not work
        │   └── SpoolFull                   its limits are reached, or the disk is full
        └── ServerFailed (Terminal)         a local server did not come up

``Transient`` and ``Terminal`` say whether a retry helps. Bad *records* never raise: they become rows with violations.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import ClassVar

from pipelines.records import OffsetRange, Violation

SHOWN_CHARS = 500
_RAISED = re.compile(r"(: )?(Caused by: )?[\w.$]*(Exception|Error)\b")
"""Begins the line of a stack trace that names an exception."""


class Transient:
    """Mixin: the same call may succeed later."""

    retriable: ClassVar[bool] = True


class Terminal:
    """Mixin: the same call will fail again until somebody changes something."""

    retriable: ClassVar[bool] = False


class SdpError(Exception):
    """Root of the tree. ``str(error)`` is one or more sentences that say what to do."""

    exit_code: ClassVar[int] = 1
    retriable: ClassVar[bool] = False


class UsageError(Terminal, SdpError):
    """The call, a setting or a file of ours is wrong."""

    exit_code = 2


class InvalidSetting(UsageError):
    """A setting is missing, misspelt or of the wrong type."""


class InvalidFile(UsageError):
    """A file of ours can't be used: ``path:line: reason``."""

    def __init__(self, path: str, line: int, reason: str) -> None:
        super().__init__(f"{path}:{line}: {reason}")
        self.path, self.line, self.reason = path, line, reason


class InvalidRuleFile(InvalidFile):
    """A rule file can't be used."""


class InvalidRecipe(InvalidFile):
    """A recipe for the replay of bad rows can't be used."""


class InvalidExpectations(InvalidFile):
    """A file that says what a day of data must be like can't be used."""


class CheckpointLost(UsageError):
    """The checkpoint is gone or older than the ledger; starting anyway would make Delta skip data silently."""

    def __init__(self, job: str, checkpoint: str, why: str) -> None:
        super().__init__(
            f"{job}: {why} (checkpoint {checkpoint}). Nothing was read or written. "
            f"If the checkpoint can be restored, restore it; otherwise run `sdp run {job} --recover`: it starts a new "
            f"query at the offsets of the ledger and removes rows of a batch that the ledger never confirmed."
        )
        self.job, self.checkpoint = job, checkpoint


class AlreadyRunning(UsageError):
    """Another live process runs the same job on the same checkpoint."""

    def __init__(self, job: str, holder: str, lease: str) -> None:
        super().__init__(
            f"{job} is already running: {holder} holds {lease}. Stop that process first."
            " Two copies never share a checkpoint."
        )
        self.job, self.holder = job, holder


class ContractViolation(UsageError):
    """A record breaks its schema or a critical rule; carries all violations (law 5)."""

    def __init__(self, violations: Sequence[Violation]) -> None:
        super().__init__("; ".join(f"{v.code}: {v.message}" for v in violations))
        self.violations = tuple(violations)


class UnknownEventType(UsageError):
    """An event whose type is none of those that are routed."""

    def __init__(self, event_type: str, known: Sequence[str]) -> None:
        super().__init__(f"unknown event type {event_type!r}; known are {', '.join(known)}")
        self.event_type, self.known = event_type, tuple(known)


class RecordRefused(UsageError):
    """Kafka refuses a record for good. ``reason``: the name of Kafka's error."""

    def __init__(self, topic: str, reason: str, detail: str) -> None:
        super().__init__(f"Kafka refuses a record for topic {topic}: {detail} ({reason})")
        self.topic, self.reason = topic, reason


class RecordTooLarge(RecordRefused):
    """A record is larger than client or broker allow (``message.max.bytes``, ``max.message.bytes``)."""


class ProducerClosed(UsageError):
    """A record was given to a producer after ``close``."""

    def __init__(self) -> None:
        super().__init__("the producer is closed: it takes no more records")


class ForkedProducer(UsageError):
    """A producer does not survive a fork: neither its threads nor its connections do."""

    def __init__(self) -> None:
        super().__init__("this producer was made before the process forked: make one in each worker after the fork")


class SpoolInUse(UsageError):
    """Two processes can't share a spool."""

    def __init__(self, folder: str, holder: str) -> None:
        super().__init__(f"the spool {folder} belongs to {holder}; give each process a folder of its own")
        self.folder, self.holder = folder, holder


class DataProblem(Terminal, SdpError):
    """The data itself is wrong; a retry gives the same answer."""

    exit_code = 1


class NotConserved(DataProblem):
    """A batch does not add up (law 2). Nothing of it counts as done."""

    def __init__(self, job: str, batch_id: int, findings: Sequence[str]) -> None:
        super().__init__(
            f"{job}: batch {batch_id} does not add up: {'; '.join(findings)}. The ledger did not confirm it. "
            f"Look at `sdp status` and the job's log before restarting; the checkpoint still points at its start."
        )
        self.job, self.batch_id, self.findings = job, batch_id, tuple(findings)


class OffsetsLost(DataProblem):
    """Offsets were deleted by retention, or the topic was re-created, before the job read them."""

    def __init__(self, job: str, ranges: Sequence[OffsetRange], way_out: str = "--accept-loss") -> None:
        total = sum(len(r) for r in ranges)
        super().__init__(
            f"{job}: Kafka no longer holds {total} offsets that were never read: {', '.join(map(str, ranges))}. "
            f"If they can't be restored, run `sdp run {job} {way_out}`: the ledger records them as lost "
            f"and the job goes on with the oldest offset there is."
        )
        self.job, self.ranges = job, tuple(ranges)


class RecordDropped(DataProblem):
    """A record was given up so that newer ones find room, as ``spool.when_full: drop_oldest`` wants it."""

    def __init__(self, topic: str) -> None:
        super().__init__(f"a record for topic {topic} was dropped: the spool is full and newer records came")
        self.topic = topic


class RecordUnreadable(DataProblem):
    """A record was in the spool, and its bytes are damaged: it will not be sent."""

    def __init__(self, folder: str) -> None:
        super().__init__(f"a record in the spool {folder} can't be read any more; its file stays there as *.damaged")
        self.folder = folder


class Unavailable(Transient, SdpError):
    """A server did not answer; nothing was lost."""

    exit_code = 3

    def __init__(self, what: str, address: str, reason: str) -> None:
        super().__init__(f"{what} at {address} is not available: {reason}")
        self.what, self.address, self.reason = what, address, reason


class BrokerUnavailable(Unavailable):
    """Kafka does not answer."""


class RegistryUnavailable(Unavailable):
    """The schema registry does not answer. No record becomes invalid by it (law 4)."""

    @classmethod
    def without(cls, subject: str, url: str) -> RegistryUnavailable:
        """A registry without the subject has lost its data, or is a new one."""
        return cls("schema registry", url, f"it knows no schema of subject {subject}; run `sdp init` if it is new")


class MetastoreUnavailable(Unavailable):
    """The Hive metastore does not answer."""


class SinkUnavailable(Unavailable):
    """Elasticsearch or the warehouse does not take what we write."""


class IndexReadOnly(SinkUnavailable):
    """An index takes no documents: maintenance made it read-only, or a person did. Writing goes on once it is open."""

    def __init__(self, what: str, address: str, reason: str) -> None:
        way_out = "`sdp maintain indices --open YYYY-MM-DD` opens the index of that day until the next maintenance"
        super().__init__(what, address, f"{reason}: it is read-only; {way_out}")


class NotAcknowledged(Unavailable):
    """Nobody knows yet: what was sent may still arrive, so sending it again may double it."""

    def __init__(self, record: str, waited_s: float) -> None:
        super().__init__("acknowledgement", "Kafka", f"{record} was sent {waited_s:g} s ago and may still arrive")
        self.record, self.waited_s = record, waited_s


class StillSpooled(Unavailable):
    """A record is in the spool, not yet in Kafka; the next producer on the folder sends it. Don't send it again."""

    def __init__(self, bootstrap: str, folder: str) -> None:
        super().__init__("Kafka", bootstrap, f"the record is kept in {folder} and sent by the next producer there")
        self.folder = folder


class SpoolUnavailable(Unavailable):
    """The spool can't be read or written."""

    def __init__(self, folder: str, reason: str) -> None:
        super().__init__("the spool", folder, reason)


class SpoolFull(SpoolUnavailable):
    """No room for a record. It was not accepted: nothing of it will be sent."""


class ServerFailed(Terminal, Unavailable):
    """A server of the local stack died or was not ready in time; the message names its log file."""

    exit_code = 3
    retriable = False


def innermost_cause(error: BaseException) -> str:
    """The line of an error's text that says what went wrong: of a Java stack trace the last exception it names."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()] or [""]
    raised = [line for line in lines if _RAISED.match(line)]
    chosen = lines[0] if isinstance(error, SdpError) or not raised else raised[-1]
    return chosen.removeprefix(": ").removeprefix("Caused by: ")[:SHOWN_CHARS]
