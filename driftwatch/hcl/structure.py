"""What a file says, as decoded structure on which two readers agree: for whoever must not be deceived by it.

    bytes → tokens, without comments and with escapes undone → members: attributes, and blocks with labels

The syntax tree of `driftwatch.hcl.syntax` serves where a misread file does no harm. Here a file may have
been written so that one reader takes for text what terraform takes for code. So the tokens are told apart
once more, as HCL's own scanner does it, in time in proportion to the length; what the two do not see alike
cannot be read. It is the same structure for both forms: JSON becomes the tokens that say the same in HCL.

Nothing is evaluated, and of an expression no more is known than its tokens.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any, NamedTuple

from driftwatch.hcl.syntax import BOM, ESCAPED, parse

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from tree_sitter import Node

DEEPEST = 60
"""Blocks in blocks, brackets in brackets. Nobody's code goes deeper."""

_CODE = re.compile(
    r"""(?P<blank>[ \t]+|(?:\#|//)[^\n]*|/\*.*?\*/)
      | (?P<end>\r?\n)
      | <<-?(?P<heredoc>[A-Za-z_][A-Za-z0-9_-]*)\r?\n
      | (?P<name>[A-Za-z_][A-Za-z0-9_-]*)
      | (?P<number>[0-9]+(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?)
      | (?P<quote>")
      | (?P<opens>[{(\[])
      | (?P<closes>~?\}|[)\]])
      | (?P<sign>==|!=|<=|>=|&&|\|\||=>|\.\.\.|::|[-+*/%=<>!?:.,&|])""",
    re.VERBOSE | re.DOTALL,
)
_BEGINS = re.compile(r"[$%]\{~?")
_ESCAPED_BEGIN = re.compile(r"\$\$\{|%%\{")
_UNSURE_BEGIN = re.compile(r"\${3,}\{|%{3,}\{")
_QUOTED_RUN = re.compile(r'[^"\\$%\r\n]+')
_LINE_RUN = re.compile(r"[^$%\n]+")
_ESCAPE = re.compile(r'\\(?:u([0-9a-fA-F]{4})|U([0-9a-fA-F]{8})|([nrt"\\]))')
_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]|\r(?!\n)")
_LONGEST_LABEL = 200
"""Tokens; an escape is one by itself."""

_BLANK_OR_NOT = bytes(each not in b" \t\r\n" for each in range(256))
_CLOSED_BY = {"{": "}", "(": ")", "[": "]", "${": "}", "%{": "}"}
_TEXT_NODES = frozenset({"comment", "template_literal"})

LABELS: Mapping[str, int] = {
    "provider": 1,
    "variable": 1,
    "output": 1,
    "module": 1,
    "check": 1,
    "resource": 2,
    "data": 2,
    "ephemeral": 2,
}
"""How many names stand before the body of a block, in the JSON form."""


class UnreadableError(ValueError):
    """A file that is broken, or that two readers do not see alike."""


class Kind(StrEnum):
    """What a token is."""

    NAME = "name"
    NUMBER = "number"
    SIGN = "sign"
    """Brackets and operators, and the marks of strings and of what is computed in them."""
    TEXT = "text"
    """What stands literally in a string, with its escapes undone."""
    END = "end"
    """Of a line."""


class Token(NamedTuple):
    """`line` is 0 where that is not known."""

    kind: Kind
    text: str
    line: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """An attribute, or a block with its labels; `tokens` is its value, or what stands between its braces.

    `members` are those of a block. `texts` are what its tokens say, wherever that stands and however it is
    spread over lines: two members are the same where these are.
    """

    words: tuple[str, ...]
    line: int
    is_block: bool
    tokens: tuple[Token, ...]
    members: tuple[Member, ...] = ()

    @property
    def texts(self) -> tuple[str, ...]:
        """The same for two that say the same."""
        return (*self.words, "{" if self.is_block else "=", *said(self.tokens))


def said(tokens: Sequence[Token]) -> tuple[str, ...]:
    """What tokens say: a text is told from a name of the same letters."""
    return tuple(
        f'"{each.text}' if each.kind is Kind.TEXT else each.text
        for each in tokens
        if each.kind is not Kind.END
    )


def read_native(text: bytes) -> tuple[Member, ...]:
    """What a file in HCL says. Raises UnreadableError."""
    text = text.removeprefix(BOM)
    tokens, code = _scan(text)
    root = parse(text)
    if root is None:
        raise UnreadableError("it takes too long to read")
    if root.has_error or _code_of(root, text) != code:
        raise UnreadableError("it is broken, or may be read in more than one way")
    return _members(tokens)


def scan_native(text: bytes) -> tuple[Member, ...]:
    """As `read_native`, by one reader alone. Raises UnreadableError."""
    return _members(_scan(text.removeprefix(BOM))[0])


def read_json(text: bytes) -> tuple[Member, ...]:
    """What a file in the JSON form says: its outermost blocks with their labels. Raises UnreadableError."""
    return tuple(
        Member(
            words=words,
            line=0,
            is_block=True,
            tokens=tuple(_of_json(body)),
            members=tuple(_json_member(key, value) for key, value in body),
        )
        for name, value in _document(text)
        for words, body in _labelled((name,), value, LABELS.get(name, 0))
    )


def read_values(text: bytes) -> tuple[Member, ...]:
    """What a file of variables in the JSON form says, where texts are texts. Raises UnreadableError."""
    return tuple(
        Member(words=(key,), line=0, is_block=False, tokens=tuple(_of_json(value, computed=False)))
        for key, value in _document(text)
    )


def read_template(text: bytes) -> tuple[Token, ...]:
    """The tokens of a file that is a template. Raises UnreadableError."""
    return tuple(_Scanner(text, bare=True).tokens)


def object_of(tokens: Sequence[Token]) -> tuple[Member, ...] | None:
    """The members of a value that is an object with plain keys and nothing round it; None for any other."""
    inner = [each for each in tokens if each.kind is not Kind.END]
    if len(inner) < 2 or (inner[0].text, inner[-1].text) != ("{", "}"):
        return None
    if any(each.kind is not Kind.SIGN for each in (inner[0], inner[-1])):
        return None
    start = next(at for at, each in enumerate(tokens) if each.kind is not Kind.END)
    stop = max(at for at, each in enumerate(tokens) if each.kind is not Kind.END)
    found: list[Member] = []
    for part in split(tokens[start + 1 : stop]):
        key, at = _key(part)
        if key is None or at >= len(part) or part[at].kind is not Kind.SIGN or part[at].text not in "=:":
            return None
        found.append(Member(words=(key,), line=part[0].line, is_block=False, tokens=tuple(part[at + 1 :])))
    return tuple(found)


def split(tokens: Sequence[Token]) -> list[list[Token]]:
    """The parts that commas and ends of lines divide, where no bracket is open; without empty ones."""
    parts: list[list[Token]] = [[]]
    depth = 0
    for each in tokens:
        depth += _change(each)
        if depth == 0 and (each.kind is Kind.END or (each.kind is Kind.SIGN and each.text == ",")):
            parts.append([])
        else:
            parts[-1].append(each)
    return [part for part in parts if any(each.kind is not Kind.END for each in part)]


def literal_of(tokens: Sequence[Token]) -> str | None:
    """The text that a value is; None where it is anything else, or is in part computed."""
    inner = [each for each in tokens if each.kind is not Kind.END]
    if len(inner) < 2 or inner[0].text != '"' or inner[-1].text != '"':
        return None
    if any(each.kind is not Kind.TEXT for each in inner[1:-1]) or inner[0].kind is not Kind.SIGN:
        return None
    return "".join(each.text for each in inner[1:-1])


def calls(tokens: Sequence[Token]) -> Iterator[tuple[str, Token, list[list[Token]]]]:
    """Each function that is called, by its name without where it is from, with its arguments."""
    line = [each for each in tokens if each.kind is not Kind.END]
    closing = _closing(line)
    for at, each in enumerate(line[:-1]):
        after = line[at + 1]
        if each.kind is Kind.NAME and after.kind is Kind.SIGN and after.text == "(":
            yield each.text, each, split(line[at + 2 : closing.get(at + 1, len(line))])


def _closing(tokens: Sequence[Token]) -> dict[int, int]:
    """Where each bracket that is opened is closed."""
    found: dict[int, int] = {}
    ahead: list[int] = []
    for at, each in enumerate(tokens):
        change = _change(each)
        if change > 0:
            ahead.append(at)
        elif change < 0 and ahead:
            found[ahead.pop()] = at
    return found


def _change(token: Token) -> int:
    if token.kind is not Kind.SIGN:
        return 0
    return (token.text in _CLOSED_BY) - (token.text in ("}", ")", "]"))


# ---- tokens ----------------------------------------------------------------------------------------------


def _scan(text: bytes) -> tuple[list[Token], bytes]:
    scanner = _Scanner(text)
    return scanner.tokens, bytes(scanner.code)


class _Scanner:
    """Tells tokens apart. The bytes stand for characters here, so that places are the same for the tree."""

    def __init__(self, text: bytes, *, bare: bool = False) -> None:
        try:
            whole = text.decode()
        except UnicodeDecodeError as problem:
            raise UnreadableError("it is no UTF-8") from problem
        if not bare and _CONTROL.search(whole):
            raise UnreadableError("it has characters that no text has")
        self._text = text.decode("latin-1")
        self._bare = bare
        self._open: list[str] = ["bare" if bare else "code"]
        self._markers: list[str] = []
        self._line = 1
        self.tokens: list[Token] = []
        self.code = bytearray(len(text))
        """1 where something stands that is neither text, nor a comment, nor a blank."""
        at = 0
        while at < len(text):
            at = self._step(at)
        if self._open != ["bare" if bare else "code"]:
            raise UnreadableError("something is not closed")

    def _step(self, at: int) -> int:
        match self._open[-1]:
            case "quote":
                return self._quoted(at)
            case "heredoc" | "bare":
                return self._lines(at)
        return self._coded(at)

    def _add(self, kind: Kind, text: str, start: int, end: int) -> int:
        self.tokens.append(Token(kind, text, self._line))
        if kind not in (Kind.TEXT, Kind.END):
            self.code[start:end] = b"\x01" * (end - start)
        self._line += self._text.count("\n", start, end)
        return end

    def _enter(self, what: str) -> None:
        if len(self._open) > DEEPEST:
            raise UnreadableError("it is too deep")
        self._open.append(what)

    def _coded(self, at: int) -> int:
        found = _CODE.match(self._text, at)
        if found is None:
            raise UnreadableError("something in it is no code")
        if self._text.startswith("/*", at) and found.lastgroup != "blank":
            raise UnreadableError("a comment is not closed")
        end, said = found.end(), found[0]
        match found.lastgroup:
            case "blank":
                self._line += said.count("\n")
                return end
            case "heredoc":
                return self._heredoc(at, said, found["heredoc"])
            case "end" | "name" | "number" as kind:
                return self._add(Kind(kind), said.removeprefix("\r"), at, end)
            case "quote" | "opens":
                self._enter("quote" if said == '"' else said)
            case "closes":
                said = said[-1]
                if _CLOSED_BY.get(self._open[-1]) != said or (said != found[0] and self._open[-1] == "{"):
                    raise UnreadableError("a bracket is not closed")
                self._open.pop()
        return self._add(Kind.SIGN, said, at, end)

    def _heredoc(self, at: int, said: str, marker: str) -> int:
        self._enter("heredoc")
        self._markers.append(marker)
        self._add(Kind.SIGN, "<<-" if said[2] == "-" else "<<", at, at + len(said.rstrip()))
        self._line += 1
        return self._begin_line(at + len(said))

    def _computed(self, at: int) -> int | None:
        """Past the mark that something is computed here, or the one that says that it is not."""
        if _UNSURE_BEGIN.match(self._text, at):
            raise UnreadableError("a mark in a string may be read in two ways")
        if (escaped := _ESCAPED_BEGIN.match(self._text, at)) is not None:
            return self._add(Kind.TEXT, escaped[0][1:], at, escaped.end())
        if (begins := _BEGINS.match(self._text, at)) is not None:
            self._enter(begins[0][:2])
            return self._add(Kind.SIGN, begins[0][:2], at, begins.end())
        return None

    def _quoted(self, at: int) -> int:
        if self._text[at] == '"':
            self._open.pop()
            return self._add(Kind.SIGN, '"', at, at + 1)
        if (run := _QUOTED_RUN.match(self._text, at)) is not None:
            return self._add(Kind.TEXT, _as_text(run[0]), at, run.end())
        if (escape := _ESCAPE.match(self._text, at)) is not None:
            number = int(escape[1] or escape[2] or "0", 16)
            if number > 0x10FFFF:
                raise UnreadableError("an escape stands for nothing")
            return self._add(Kind.TEXT, ESCAPED.get(escape[3]) or chr(number), at, escape.end())
        if self._text[at] not in "$%":
            raise UnreadableError("a string is broken")
        past = self._computed(at)
        return self._add(Kind.TEXT, self._text[at], at, at + 1) if past is None else past

    def _lines(self, at: int) -> int:
        if (run := _LINE_RUN.match(self._text, at)) is not None:
            return self._add(Kind.TEXT, _as_text(run[0]), at, run.end())
        if self._text[at] == "\n":
            self._add(Kind.TEXT, "\n", at, at + 1)
            return self._begin_line(at + 1)
        past = self._computed(at)
        return self._add(Kind.TEXT, self._text[at], at, at + 1) if past is None else past

    def _begin_line(self, at: int) -> int:
        """Past the mark that ends a heredoc, where it stands in the line that begins here."""
        if self._open[-1] != "heredoc":
            return at
        end = self._text.find("\n", at)
        line = self._text[at : end if end >= 0 else len(self._text)]
        marker = line.strip(" \t\r")
        if marker != self._markers[-1]:
            if _as_text(line).strip() == self._markers[-1]:
                raise UnreadableError("the end of a text may be read in two ways")
            return at
        self._open.pop()
        self._markers.pop()
        start = at + line.index(marker)
        return self._add(Kind.SIGN, ">>", start, start + len(marker))


def _as_text(run: str) -> str:
    return run.encode("latin-1").decode(errors="replace")


def _code_of(root: Node, text: bytes) -> bytes:
    """As the scanner's, by the syntax tree: all but blanks, and what it takes for a text or a comment."""
    found = bytearray(text.translate(_BLANK_OR_NOT))
    ahead = [root]
    while ahead:
        node = ahead.pop()
        if node.type in _TEXT_NODES:
            found[node.start_byte : node.end_byte] = bytes(node.end_byte - node.start_byte)
        else:
            ahead += node.children
    return bytes(found)


# ---- members ---------------------------------------------------------------------------------------------


def _members(tokens: Sequence[Token]) -> tuple[Member, ...]:
    return tuple(_each_member(tokens, _closing(tokens), 0, len(tokens)))


def _each_member(tokens: Sequence[Token], closing: Mapping[int, int], at: int, stop: int) -> Iterator[Member]:
    while at < stop:
        if tokens[at].kind is Kind.END:
            at += 1
            continue
        words, after = _head(tokens, at, stop)
        if after >= stop:
            raise UnreadableError("a name says nothing")
        if tokens[after].text == "{":
            end = closing.get(after, stop)
            inner = tuple(_each_member(tokens, closing, after + 1, end))
            yield Member(
                words=words,
                line=tokens[at].line,
                is_block=True,
                tokens=tuple(tokens[after + 1 : end]),
                members=inner,
            )
            at = end + 1
            continue
        end = after + 1
        while end < stop and tokens[end].kind is not Kind.END:
            end = closing.get(end, end) + 1
        yield Member(words=words, line=tokens[at].line, is_block=False, tokens=tuple(tokens[after + 1 : end]))
        at = end


def _head(tokens: Sequence[Token], at: int, stop: int) -> tuple[tuple[str, ...], int]:
    """The words before a brace, or before the sign that a value follows."""
    words: list[str] = []
    while at < stop:
        token = tokens[at]
        if token.kind is Kind.SIGN and token.text == "{" and words:
            return tuple(words), at
        if token.kind is Kind.SIGN and token.text == "=" and len(words) == 1:
            return tuple(words), at
        key, past = _key(tokens[at : min(stop, at + _LONGEST_LABEL)])
        if key is None:
            break
        words.append(key)
        at += past
    raise UnreadableError("something in it is neither an attribute nor a block")


def _key(tokens: Sequence[Token]) -> tuple[str | None, int]:
    """A name, or a string with nothing computed in it, and how many tokens that is."""
    start = 0
    while start < len(tokens) and tokens[start].kind is Kind.END:
        start += 1
    if start == len(tokens):
        return None, start
    if tokens[start].kind is Kind.NAME:
        return tokens[start].text, start + 1
    if tokens[start].kind is not Kind.SIGN or tokens[start].text != '"':
        return None, start
    parts: list[str] = []
    for at in range(start + 1, len(tokens)):
        if tokens[at].kind is not Kind.TEXT:
            return ("".join(parts), at + 1) if tokens[at].text == '"' else (None, at)
        parts.append(tokens[at].text)
    return None, start


# ---- JSON ------------------------------------------------------------------------------------------------


def _document(text: bytes) -> list[tuple[str, Any]]:
    try:
        # Duplicate keys are two blocks; objects are tuples of pairs, to tell them from lists.
        document = json.loads(text.removeprefix(BOM).decode(), object_pairs_hook=tuple)
        return [pair for body in _objects(document) for pair in body]
    except (ValueError, RecursionError) as problem:
        raise UnreadableError("it is no JSON") from problem


def _objects(value: Any) -> list[tuple[tuple[str, Any], ...]]:
    """A block may be an object, or a list of them. Raises UnreadableError for anything else."""
    found = value if isinstance(value, list) else [value]
    if any(not isinstance(each, tuple) for each in found):
        raise UnreadableError("something that must be a block is none")
    return found


def _labelled(
    words: tuple[str, ...], value: Any, labels: int
) -> Iterator[tuple[tuple[str, ...], tuple[tuple[str, Any], ...]]]:
    if words[0] == "//":
        return
    for body in _objects(value):
        if labels:
            for name, inner in body:
                if name != "//":
                    yield from _labelled((*words, name), inner, labels - 1)
        else:
            yield words, body


def _json_member(key: str, value: Any) -> Member:
    return Member(words=(key,), line=0, is_block=False, tokens=tuple(_of_json(value)))


def _of_json(value: Any, *, computed: bool = True, depth: int = 0) -> Iterator[Token]:
    """The tokens that say the same in HCL."""
    if depth > DEEPEST:
        raise UnreadableError("it is too deep")
    if isinstance(value, tuple | list):
        opens, closes = "{}" if isinstance(value, tuple) else "[]"
        yield Token(Kind.SIGN, opens, 0)
        for each in value:
            if isinstance(value, tuple):
                yield from _json_text(each[0], computed=computed)
                yield Token(Kind.SIGN, "=", 0)
            yield from _of_json(
                each[1] if isinstance(value, tuple) else each, computed=computed, depth=depth + 1
            )
            yield Token(Kind.SIGN, ",", 0)
        yield Token(Kind.SIGN, closes, 0)
    elif isinstance(value, str):
        yield from _json_text(value, computed=computed)
    elif isinstance(value, bool) or value is None:
        yield Token(Kind.NAME, json.dumps(value), 0)
    else:
        yield Token(Kind.NUMBER, repr(value), 0)


def _json_text(text: str, *, computed: bool) -> Iterator[Token]:
    yield Token(Kind.SIGN, '"', 0)
    if not computed or not ("${" in text or "%{" in text):
        yield Token(Kind.TEXT, text, 0)
    else:
        try:
            encoded = text.encode()
        except UnicodeEncodeError as problem:
            raise UnreadableError("a string is broken") from problem
        yield from (token._replace(line=0) for token in _Scanner(encoded, bare=True).tokens)
    yield Token(Kind.SIGN, '"', 0)
