"""PART: content parts and images. Docstrings are the rules' pages, as in `fmt`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

from ..findings import Fault, kind_of, quoted
from ..images import embedded_image, scheme_of
from ..json_scanner import join_path
from ..targets import Target
from .subjects import Line

# Every part type that some target takes, with the kind of payload that must stand under the same name
# ("any" where trainers take the payload from elsewhere, such as a column of images).
PAYLOADS = {
    "text": "text",
    "refusal": "text",
    "image_url": "reference",
    "video_url": "reference",
    "audio_url": "reference",
    "document_url": "reference",
    "input_audio": "object",
    "file": "object",
    "thinking": "given",
    "reference": "any",
    "image": "any",
    "video": "any",
    "audio": "any",
}
IMAGES = ("image_url", "image")
# Names of other interfaces that people leave in when they convert.
FOREIGN = {
    "input_text": "text",
    "output_text": "text",
    "input_image": "image_url",
    "image_base64": "image_url",
    "tool_use": "tool_calls",
    "tool_result": "a tool message",
}


class Part(NamedTuple):
    """One content part: the role of its message, its JSON path, itself."""

    role: Any
    where: str
    value: Any


def bad_part(line: Line, target: Target) -> Iterator[Fault]:
    """A content part is of an unknown type, or lacks what its type promises.

    Why: targets refuse the row; templates drop the part without a word.
    Bad:
        {"messages": [{"role": "user", "content": [{"type": "input_text", "text": "Hi"}]}, {"role": "assistant", "content": "Hello!"}]}
    Good:
        {"messages": [{"role": "user", "content": [{"type": "text", "text": "Hi"}]}, {"role": "assistant", "content": "Hello!"}]}
    """
    known = target.part_types if target.part_types is not None else PAYLOADS.keys()
    for part in _parts(line):
        if not isinstance(part.value, dict):
            cure = 'Write {"type": "text", "text": "…"}.'
            yield Fault(f"the part is {kind_of(part.value)}, not an object", cure, where=part.where)
            continue
        kind = part.value.get("type")
        if not isinstance(kind, str) or kind not in known:
            foreign = FOREIGN.get(kind) if isinstance(kind, str) else None
            hint = f" Did you mean {foreign}?" if foreign else line.guess(str(kind), known)
            message = "the part has no type" if kind is None else f"unknown part type {quoted(kind)}"
            cure = f"Use one of {', '.join(sorted(known))}.{hint}"
            yield Fault(message, cure, where=part.where if kind is None else f"{part.where}.type")
        elif fault := _payload_fault(kind, part.value, target):
            yield Fault(fault, f"Give the part its '{kind}', or leave it out.", where=part.where)


def _payload_fault(kind: str, part: dict[str, Any], target: Target) -> str | None:
    wanted, payload = PAYLOADS.get(kind, "any"), part.get(kind)
    if wanted == "any":
        return None
    if payload is None:
        return f"the {kind} part has no '{kind}'"
    if wanted == "text" and not isinstance(payload, str):
        return f"the part's {kind} is {kind_of(payload)}, not text"
    if wanted == "object" and not (isinstance(payload, dict) and payload):
        return f"the part's {kind} is {'empty' if payload == {} else kind_of(payload)}"
    if wanted == "reference":
        if isinstance(payload, str) and "type" in target.call_needs:
            return f"{target.title} takes {kind} as an object with a url"
        url = payload.get("url") if isinstance(payload, dict) else payload
        if not isinstance(url, str) or not url:
            return f"the part's {kind} has no url"
    return None


def image_outside_user(line: Line, target: Target) -> Iterator[Fault]:
    """An image stands in another message than the user's.

    Why: targets refuse images in replies, and templates drop them from system messages.
    Bad:
        {"messages": [{"role": "user", "content": "Draw basil."}, {"role": "assistant", "content": [{"type": "image_url", "image_url": {"url": "https://example.com/basil.png"}}]}]}
    Good:
        {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "https://example.com/basil.png"}}]}, {"role": "assistant", "content": "That is basil."}]}
    """
    roles = target.image_roles
    for part in _images(line) if roles is not None else ():
        if isinstance(part.role, str) and part.role in target.roles and part.role not in (roles or ()):
            cure = "Move it into a user message."
            yield Fault(f"an image in the {part.role} message", cure, where=part.where)


def too_many_images(line: Line, target: Target) -> Iterator[Fault]:
    """The row holds more images than the target takes.

    Why: the target refuses the row or skips it.
    With: max_images=1
    Bad:
        {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "https://example.com/1.png"}}, {"type": "image_url", "image_url": {"url": "https://example.com/2.png"}}]}, {"role": "assistant", "content": "Two pots."}]}
    Good:
        {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "https://example.com/1.png"}}]}, {"role": "assistant", "content": "One pot."}]}
    """
    count = sum(1 for _ in _images(line))
    if target.max_images is not None and count > target.max_images:
        message = f"{count} images, and {target.title} takes at most {target.max_images} in a row"
        yield Fault(message, "Split the row, or keep the telling ones.", where="messages")


def image_reference(line: Line, target: Target) -> Iterator[Fault]:
    """An image is given in a way that the target does not take.

    Why: most targets read no local files, and some fetch nothing at all.
    With: target=together
    Bad:
        {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "https://example.com/1.png"}}]}, {"role": "assistant", "content": "One pot."}]}
    Good:
        {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJ"}}]}, {"role": "assistant", "content": "One pot."}]}
    """
    taken = target.image_references
    for part in _images(line) if taken is not None else ():
        url = _url(part.value)
        if taken is None or not url:
            continue
        names = {"data": "base64 data URIs", "http": "web addresses", "gs": "gs:// addresses"}
        cure = f"{target.title} takes {' and '.join(names[name] for name in names if name in taken)}."
        scheme = scheme_of(url)
        if scheme not in taken:
            found = names.get(scheme, "a path or another scheme")
            yield Fault(f"the image is given by {found}", cure, where=part.where)
        elif scheme == "data":
            image = embedded_image(url)
            said = image.said.removeprefix("image/") if image else ""
            if image is None:
                yield Fault("the data URI is not base64", cure, where=part.where)
            elif target.data_uri_types is not None and said not in target.data_uri_types:
                hint = " Write image/jpeg." if said == "jpg" else ""
                message = f"{target.title} does not know the type {quoted(image.said)}"
                yield Fault(message, f"Use {_listed(target.data_uri_types)}.{hint}", where=part.where)


def image_too_large(line: Line, target: Target) -> Iterator[Fault]:
    """An embedded image is over the target's size, or of a type that it does not read.

    Why: such images are refused or skipped. The type is that of the first bytes, whatever the URI says.
    Bad:
        {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "data:image/png;base64,R0lGODlhAQABAIAAAAAAAP///yH5BAEAAAAALAAAAAABAAEAAAIBRAA7"}}]}, {"role": "assistant", "content": "One pot."}]}
    Good:
        {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJ"}}]}, {"role": "assistant", "content": "One pot."}]}
    """
    types, limit = target.image_types, target.max_image_bytes
    for part in _images(line):
        url = _url(part.value)
        image = embedded_image(url) if url and scheme_of(url) == "data" else None
        if image is None:
            continue
        if types is not None and image.shown not in types:
            found = "of no known image type" if image.shown is None else f"a {image.shown.upper()}"
            yield Fault(f"the image is {found}", f"Save it as {_listed(types)}.", where=part.where)
        if limit is not None and image.size > limit:
            message = f"the image has {image.size:,} bytes, and {target.title} takes at most {limit:,}"
            yield Fault(message, "Scale it down: models shrink large images anyway.", where=part.where)


def _parts(line: Line) -> Iterator[Part]:
    for turn, message in line.turns:
        content = message.get("content")
        for i, value in enumerate(content if isinstance(content, list) else ()):
            yield Part(message.get("role"), join_path(["messages", turn, "content", i]), value)


def _images(line: Line) -> Iterator[Part]:
    return (p for p in _parts(line) if isinstance(p.value, dict) and p.value.get("type") in IMAGES)


def _url(part: dict[str, Any]) -> str | None:
    """Where a part's image is: OpenAI's object, or the bare text that other targets take."""
    payload = part.get("image_url", part.get("image", part.get("url")))
    url = payload.get("url") if isinstance(payload, dict) else payload
    return url if isinstance(url, str) else None


def _listed(types: frozenset[str]) -> str:
    return " or ".join(sorted(name.upper() for name in types))
