"""Messages between agents, as they are sent, and as a handler gets them."""

from __future__ import annotations

import json
import logging
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, BinaryIO
from uuid import UUID, uuid4

from argosy.broker import NotTaken, publisher
from argosy.direct.call import last_words
from argosy.envelope import SCHEMA
from argosy.errors import Error, InvalidRequest
from argosy.fetch import LocalFile
from argosy.fields import AGENT_NAME
from argosy.mailbox import key_to, queue_of
from argosy.options import UploadOptions
from argosy.reference import FileReference
from argosy.references import is_reference, read_reference, references_in, too_many_files

if TYPE_CHECKING:
    from argosy.client import Client

log = logging.getLogger(__name__)

Attachment = FileReference | Mapping[str, Any] | str | os.PathLike[str] | bytes | BinaryIO
"""A reference, its JSON document, or what `Client.upload_file` takes."""
MAX_BODY_BYTES = 64 * 1024 * 1024
"""Of a body as JSON: sender and recipient have it in memory. What is larger is an attachment."""
_AGENT = re.compile(AGENT_NAME)


@dataclass(frozen=True)
class Message:
    """A message as its handler gets it.

    `sender` is whom the broker vouches for: None where it was published by no agent's own
    user. `claimed_sender` and `sent_at` are the message's own words. `files` has each file
    of `attachments`, and each that the body names, once and in that order; it is empty for
    an inbox that does not fetch. The same message may come twice: `redelivered` says that it
    was on its way to a handler before, `attempt` which time this is. A message that is JSON
    of another kind has all of it as its `body`, and neither an id nor a sender of its own
    words.
    """

    body: Any
    id: UUID | None = None
    sender: str | None = None
    claimed_sender: str | None = None
    sent_at: datetime | None = None
    attachments: tuple[FileReference, ...] = ()
    files: tuple[LocalFile, ...] = ()
    redelivered: bool = False
    attempt: int = 1


def send(
    client: Client,
    to: str,
    body: Any,
    attachments: Iterable[Attachment] = (),
    options: UploadOptions | None = None,
) -> UUID:
    """Send a message to an agent, with files, and return the message's id.

    See `Client.send`.
    """
    options = options or UploadOptions()
    attached = _as_list(attachments)
    text = _as_json(body)
    plain = json.loads(text)  # as the recipient will see it
    _check(client, to, text, attached, plain, options)
    draft = _Draft(client, to, uuid4())
    try:
        files = draft.upload_all(attached, options)
        content = draft.content(text)
        draft.pin([*files, *references_in(plain)])
    except Error as error:
        if not (error.retryable and draft.may_be_pinned):
            draft.forget()
        raise
    draft.publish({**content, "attachments": [file.document() for file in files]})
    return draft.id


def _as_list(attachments: Iterable[Attachment]) -> list[Attachment]:
    if isinstance(attachments, str | bytes | os.PathLike | Mapping | FileReference):
        raise InvalidRequest("attachments is a list, also with one in it.")
    return list(attachments)


def _check(
    client: Client,
    to: str,
    text: bytes,
    attached: Sequence[Attachment],
    body: Any,
    options: UploadOptions,
) -> None:
    """Refuse before anything is uploaded what would be refused afterwards."""
    if not _AGENT.fullmatch(to):
        raise InvalidRequest(f"{to!r} is no agent's name.")
    known = [found for one in attached if (found := _known(one))]
    uploads = len(attached) - len(known)
    limit = client.settings.message_references
    if uploads + len(references_in([known, body], limit=limit)) > limit:
        raise too_many_files(limit)
    if options.name and uploads > 1:
        raise InvalidRequest(f"{uploads} attachments cannot all have the name {options.name!r}.")
    if uploads or len(text) > client.settings.message_bytes:
        _require_agent(client, to)


def _require_agent(client: Client, to: str) -> None:
    if not publisher(client.settings.broker_url).has_queue(queue_of(to)):
        raise _nobody(to)


def _not_sent(error: Error, to: str) -> Error:
    """The broker speaks of keys, of which an agent knows nothing: a wrong one is a wrong name."""
    return _nobody(to) if isinstance(error, InvalidRequest) else error


def _nobody(to: str) -> InvalidRequest:
    return InvalidRequest(f"There is no agent {to!r}: check the name.")


def _known(attachment: Attachment) -> FileReference | None:
    """The reference, where the attachment is one. Raises InvalidReference."""
    if isinstance(attachment, FileReference):
        return attachment
    if isinstance(attachment, Mapping):
        document = dict(attachment)
        return read_reference(document) if is_reference(document) else FileReference.parse(document)
    return None


class _Draft:
    """One message that is being sent, and what was uploaded for it."""

    def __init__(self, client: Client, to: str, message_id: UUID) -> None:
        self.id = message_id
        self._client = client
        self._to = to
        self._uploaded: list[FileReference] = []
        self._kept: list[FileReference] = []
        self.may_be_pinned = False

    def upload_all(
        self, attached: Sequence[Attachment], options: UploadOptions
    ) -> list[FileReference]:
        return [_known(one) or self._upload(one, options) for one in attached]

    def content(self, text: bytes) -> dict[str, Any]:
        """The body, or the file that it became because it is large (a claim check)."""
        if len(text) <= self._client.settings.message_bytes:
            return {"body": json.loads(text)}
        as_file = UploadOptions(name="body.json", content_type="application/json")
        reference = self._upload(text, as_file)
        self._kept.append(reference)
        return {"body_reference": reference.document()}

    def pin(self, files: Sequence[FileReference]) -> None:
        """Have the files kept until the message is acknowledged, and readable to whom it is for."""
        self._kept.extend(files)
        documents = [file.document() for file in references_in(self._kept)]
        if documents:
            self.may_be_pinned = True  # whatever becomes of the answer
            self._client._ask("pin", str(self.id), documents, self._to)

    def publish(self, content: Mapping[str, Any]) -> None:
        message = {
            "schema": SCHEMA,
            "id": str(self.id),
            "from": self._client._account.agent_name,
            "sent_at": datetime.now(UTC).isoformat(),
            **content,
        }
        body = json.dumps(message, ensure_ascii=False, separators=(",", ":")).encode()
        broker = publisher(self._client.settings.broker_url)
        try:
            broker.publish(key_to(self._to), body, message_id=str(self.id))
        except NotTaken as refused:
            self.forget()
            raise _not_sent(refused.error, self._to) from None
        log.info("message.sent", extra={"message_id": str(self.id), "to": self._to})

    def forget(self) -> None:
        """Leave nothing of a message that was not sent; what cannot be removed now, expires."""
        fleet, deadline = self._client._fleet, last_words()
        with suppress(Error):
            if self.may_be_pinned:
                fleet.send("unpin", str(self.id), deadline=deadline)
            for reference in self._uploaded:
                fleet.send("delete", reference.document(), deadline=deadline)

    def _upload(self, attachment: Any, options: UploadOptions) -> FileReference:
        reference = self._client.upload_file(attachment, options=options)
        self._uploaded.append(reference)
        return reference


def _as_json(body: Any) -> bytes:
    """The body as JSON. Raises InvalidRequest for what is none, or too large."""
    try:
        _check_names(body)
        text = json.dumps(
            body, ensure_ascii=False, allow_nan=False, separators=(",", ":"), default=_plain
        ).encode()
    except (TypeError, ValueError, RecursionError) as error:
        reason = str(error) or type(error).__name__
        raise InvalidRequest(f"The body is no JSON: {reason[:200]}.") from None
    if len(text) > MAX_BODY_BYTES:
        raise InvalidRequest(
            f"The body has {len(text):,} bytes as JSON, {MAX_BODY_BYTES:,} may be: attach it as "
            "a file."
        )
    return text


def _plain(value: Any) -> Any:
    if isinstance(value, FileReference):
        return value.document()
    raise TypeError(f"{type(value).__name__} is no type of JSON")


def _check_names(body: Any) -> None:
    """Python writes `{1: 2}` as JSON without a word, but it comes back as `{"1": 2}`."""
    waiting, seen = [body], set()
    while waiting:
        value = waiting.pop()
        if isinstance(value, dict | list | tuple) and id(value) not in seen:
            seen.add(id(value))
            waiting.extend(value.values() if isinstance(value, dict) else value)
        if isinstance(value, dict) and not all(isinstance(name, str) for name in value):
            raise TypeError("a name in an object is no text")
