"""The forms in which results are printed: JSON (the contract), Markdown, JUnit and SARIF.

Pure: results in, text out. Nothing secret reaches this module; what it does is escape, since addresses and
messages may hold anything that a resource key can.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from enum import StrEnum
from typing import TYPE_CHECKING, Any
from urllib.parse import quote
from xml.etree import ElementTree as ET

from driftwatch import __version__
from driftwatch.documents.drift import checks_document
from driftwatch.errors import Exit
from driftwatch.log import redact
from driftwatch.model import Severity, Verdict

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from driftwatch.model import (
        CheckResult,
        ErrorReport,
        Finding,
        JsonValue,
    )

SARIF_SCHEMA = "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"
_SARIF_LEVELS = {
    Severity.INFO: "note",
    Severity.LOW: "note",
    Severity.MEDIUM: "warning",
    Severity.HIGH: "error",
    Severity.CRITICAL: "error",
}


_UNSEEN = re.compile("[\u061c\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff\ud800-\udfff\ufffe\uffff]")
"""Invisible, or the direction of text, or no character at all: half a surrogate pair, from a file's name."""


class Listing(StrEnum):
    """What `--format` takes where something is listed or shown."""

    TABLE = "table"
    JSON = "json"


class Format(StrEnum):
    """What `--format` takes where something is checked."""

    TABLE = "table"
    JSON = "json"
    MARKDOWN = "markdown"
    JUNIT = "junit"
    SARIF = "sarif"


def exit_code(results: Sequence[CheckResult]) -> int:
    """1 where anything could not be checked, else 2 where anything differs, else 0."""
    return exit_of([result.verdict for result in results])


def exit_of(verdicts: Collection[Verdict]) -> int:
    """The same, of verdicts."""
    if Verdict.ERROR in verdicts:
        return Exit.ERROR
    if {Verdict.DRIFTED, Verdict.PENDING, Verdict.MIXED}.intersection(verdicts):
        return Exit.DIFFERENCES
    return Exit.OK


def render(results: Sequence[CheckResult], form: Format) -> str:
    """`results` in any form but the table, which needs a terminal."""
    writers = {
        Format.JSON: lambda: to_json(checks_document(results)),
        Format.MARKDOWN: lambda: markdown(results),
        Format.JUNIT: lambda: junit(results),
        Format.SARIF: lambda: to_json(sarif(results)),
    }
    return writers[form]()


def plain(text: str) -> str:
    """`text` on one line, without secrets and without anything that steers a terminal or turns text round."""
    return visible(text).replace("\n", "\\n").replace("\t", " ")


def visible(text: str) -> str:
    """As `plain`, of a text that may have lines."""
    return _UNSEEN.sub(lambda found: f"\\u{ord(found.group()):04x}", redact(text))


def to_json(document: Mapping[str, Any]) -> str:
    """JSON that any reader and any terminal takes: ASCII only, so that no name can steer a terminal."""
    return json.dumps(document, indent=2, allow_nan=False)


# ---- Markdown ------------------------------------------------------------------------------------------


def markdown(results: Sequence[CheckResult]) -> str:
    """For a pull request or a wiki page."""
    lines: list[str] = []
    for result in results:
        lines += [f"### `{_code(str(result.stack))}`: {result.verdict.replace('_', ' ')}", ""]
        if result.mass_deletion:
            lines += [f"> **{_prose(result.mass_deletion)}**", ""]
        if result.error:
            lines += _markdown_error(result.error)
        if result.counted:
            lines += ["| severity | address | kind | cause | attributes |", "|---|---|---|---|---|"]
            lines += [_markdown_row(finding) for finding in result.counted]
            lines.append("")
    return "\n".join(lines).rstrip() + "\n"


def _markdown_error(error: ErrorReport) -> list[str]:
    lines = [f"**{error.code}**: {_prose(error.message)}", ""]
    if error.advice:
        lines += [_prose(error.advice), ""]
    return lines


def _markdown_row(finding: Finding) -> str:
    told = [f"`{_code(change.path)}`" for change in finding.attributes]
    if finding.message:
        told.insert(0, _prose(finding.message))
    paths = "<br>".join(told)
    causes = ", ".join(cause.replace("_", " ") for cause in finding.causes)
    return f"| {finding.severity} | `{_code(finding.address)}` | {finding.kind} | {causes} | {paths} |"


def _code(text: str) -> str:
    return plain(text).replace("`", "'").replace("|", "\\|")


def _prose(text: str) -> str:
    """With no markup of its own: a message that quotes code shows neither pictures nor links."""
    escaped = visible(text).replace("&", "&amp;").replace("<", "&lt;").replace("\n", " ")
    return _MARKUP.sub(r"\\\g<0>", escaped)


_MARKUP = re.compile(r"[\\\[\]!*_`~|#]")


# ---- JUnit ---------------------------------------------------------------------------------------------


def junit(results: Sequence[CheckResult]) -> str:
    """One test case per stack: a difference is a failure, a check that could not be made an error."""
    code = Counter(result.verdict for result in results)
    failures = sum(1 for result in results if result.counted)
    suite = ET.Element(
        "testsuite",
        name="driftwatch",
        tests=str(len(results)),
        failures=str(failures),
        errors=str(code[Verdict.ERROR]),
        skipped=str(code[Verdict.SKIPPED]),
        time=f"{sum(result.duration_seconds for result in results):.3f}",
    )
    for result in results:
        _junit_case(suite, result)
    root = ET.Element("testsuites")
    root.append(suite)
    ET.indent(root)
    document: bytes = ET.tostring(root, encoding="us-ascii", xml_declaration=True)
    return document.decode("ascii") + "\n"


def _junit_case(suite: ET.Element, result: CheckResult) -> None:
    case = ET.SubElement(
        suite, "testcase", name=_xml(str(result.stack)), time=f"{result.duration_seconds:.3f}"
    )
    case.set("classname", _xml(result.stack.repository))
    if result.error:
        problem = ET.SubElement(case, "error", type=result.error.code, message=_xml(result.error.message))
        problem.text = _xml(result.error.advice or "")
    elif result.verdict is Verdict.SKIPPED:
        ET.SubElement(case, "skipped")
    elif result.counted:
        failure = ET.SubElement(case, "failure", type=result.verdict.value)
        failure.set("message", f"{len(result.counted)} findings")
        failure.text = "\n".join(_xml(one_line(finding)) for finding in result.counted)


def one_line(finding: Finding) -> str:
    """A finding in one line of plain text."""
    causes = ", ".join(cause.replace("_", " ") for cause in finding.causes)
    paths = " ".join(change.path for change in finding.attributes)
    said = f"[{finding.severity}] {finding.address} {finding.kind} ({causes}) {paths}".rstrip()
    return plain(f"{said}: {finding.message}" if finding.message else said)


def _xml(text: str) -> str:
    """XML 1.0 has no place for most control characters, not even escaped."""
    return visible(text)


# ---- SARIF ---------------------------------------------------------------------------------------------


def sarif(results: Sequence[CheckResult]) -> dict[str, Any]:
    """SARIF 2.1.0, for code scanning pages: one rule per kind, one result per counted finding."""
    kinds = sorted({finding.kind.value for result in results for finding in result.counted})
    return {
        "$schema": SARIF_SCHEMA,
        "version": "2.1.0",
        "runs": [
            {
                "tool": {
                    "driver": {
                        "name": "driftwatch",
                        "version": __version__,
                        "rules": [
                            {"id": kind, "shortDescription": {"text": f"Resource {kind}"}} for kind in kinds
                        ],
                    }
                },
                "invocations": [
                    {
                        "executionSuccessful": all(result.error is None for result in results),
                        "toolExecutionNotifications": [
                            {
                                "level": "error",
                                "message": {"text": redact(f"{result.stack}: {result.error.message}")},
                            }
                            for result in results
                            if result.error
                        ],
                    }
                ],
                "results": [_sarif(result, finding) for result in results for finding in result.counted],
            }
        ],
    }


def _sarif(result: CheckResult, finding: Finding) -> dict[str, Any]:
    return {
        "ruleId": finding.kind.value,
        "level": _SARIF_LEVELS[finding.severity],
        "message": {"text": one_line(finding)},
        "partialFingerprints": {"driftwatch/v1": finding.fingerprint},
        "locations": [
            {
                "physicalLocation": {"artifactLocation": {"uri": quote(plain(f"{result.stack.path}/"))}},
                "logicalLocations": [{"fullyQualifiedName": finding.address, "kind": "resource"}],
            }
        ],
        "properties": {"stack": str(result.stack), "severity": finding.severity.value},
    }


def brief(value: JsonValue, limit: int = 60) -> str:
    """A value on one line of a terminal."""
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, sort_keys=True)
    text = plain(text)
    return text if len(text) <= limit else f"{text[: limit - 1]}…"
