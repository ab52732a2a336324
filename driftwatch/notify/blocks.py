"""The pieces of Slack's Block Kit that messages are made of, and how much of them fits.

Limits of Slack: 50 blocks, 150 characters in a header, 3,000 in a section
(https://docs.slack.dev/reference/block-kit/blocks). All blocks together are refused as
`msg_blocks_too_long` from about 11,000 characters on, which is written nowhere; hence `MESSAGE_LIMIT`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

from driftwatch.notify.text import units

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

Block: TypeAlias = "dict[str, Any]"

HEADER_LIMIT = 150
SECTION_LIMIT = 3000
BLOCK_LIMIT = 50
MESSAGE_LIMIT = 8000
"""Characters of all blocks together, what buttons carry included, well below where Slack was seen to
refuse."""

SECTIONS_LIMIT = BLOCK_LIMIT - 10
"""How many sections a list may have: the rest is for what stands around it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rendered:
    """`text` is what notifications and screen readers say; `blocks` what the channel shows.

    `stacks` are those that are named in it.
    """

    text: str
    blocks: tuple[Block, ...]
    stacks: frozenset[str] = frozenset()


def header(text: str) -> Block:
    """The title of a message, in which Slack reads no markup."""
    return {"type": "header", "text": {"type": "plain_text", "text": text, "emoji": False}}


def section(text: str, accessory: Block | None = None) -> Block:
    """A paragraph, with something to press at its side."""
    block: Block = {"type": "section", "text": _mrkdwn(text)}
    return block | {"accessory": accessory} if accessory else block


def context(text: str) -> Block:
    """A paragraph in small grey letters."""
    return {"type": "context", "elements": [_mrkdwn(text)]}


def length(blocks: Iterable[Block]) -> int:
    """The characters of everything that is shown, and of what buttons carry."""
    return sum(_written(block) for block in blocks)


def fitting(sections: Sequence[Block], room: int) -> int:
    """How many of the sections, from the first on, fit into `room` characters and Slack's count of blocks."""
    for count, block in enumerate(sections[:SECTIONS_LIMIT]):
        room -= length([block])
        if room < 0:
            return count
    return min(len(sections), SECTIONS_LIMIT)


def packed(lines: Iterable[str], room: int) -> tuple[list[Block], int]:
    """Lines in as few sections as hold them, and how many of them fit into `room` characters."""
    texts: list[str] = []
    count = 0
    for line in lines:
        room -= units(line) + 1
        if room < 0:
            break
        count += 1
        if texts and units(texts[-1]) + units(line) + 1 <= SECTION_LIMIT:
            texts[-1] += f"\n{line}"
        else:
            texts.append(line)
    return [section(text) for text in texts], count


def joined(parts: Iterable[str], limit: int) -> str:
    """Whole parts, a line each, as many as fit."""
    text = ""
    for part in parts:
        if units(text) + units(part) + 1 > limit:
            break
        text = f"{text}\n{part}" if text else part
    return text


def _written(part: object) -> int:
    if isinstance(part, dict):
        return sum(
            units(value) if key in ("text", "value") and isinstance(value, str) else _written(value)
            for key, value in part.items()
        )
    return sum(_written(item) for item in part) if isinstance(part, list | tuple) else 0


def _mrkdwn(text: str) -> Block:
    # Verbatim: Slack shall not make links or mentions out of what merely looks like one.
    return {"type": "mrkdwn", "text": text, "verbatim": True}
