"""The search finds what it looks for: a suite that hears nothing must not be deaf."""

from __future__ import annotations

import base64
import json
from urllib.parse import quote

import pytest

from driftwatch.drift import classify
from tests.drift import samples
from tests.redaction.canaries import DIGITS, SHAPES, STEM, Canaries, leaks, leaks_in
from tests.redaction.documents import CHECK
from tests.redaction.outputs import reading_of, result_of, said_of

SAFE = "sensitive:hmac-sha256:0123456789abcdef beacon-lit-by-hand kestre 9182736"


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize(
    "dress",
    [
        str,
        str.upper,
        json.dumps,
        quote,
        lambda text: text.encode().hex(),
        lambda text: base64.b64encode(text.encode()).decode(),
        lambda text: base64.urlsafe_b64encode(b"x" + text.encode()).decode(),
        lambda text: base64.b64encode(b"xy" + text.encode() + b"z").decode(),
        lambda text: "".join(f"%{byte:02x}" for byte in text.encode()),
        lambda text: text.replace(STEM, f"{STEM[:3]}=\r\n{STEM[3:]}"),
        lambda text: text.replace(STEM, f"{STEM[:3]}\n      {STEM[3:]}"),
        lambda text: f"{text[: text.index(STEM) + len(STEM)]}…",
    ],
)
def test_a_canary_is_found_in_every_dress(shape: str, dress: object) -> None:
    assert callable(dress)

    assert leaks_in(f"before {dress(Canaries().text(shape))} after")


@pytest.mark.parametrize("number", [Canaries().number(), Canaries().number(whole=False), DIGITS])
def test_a_number_and_a_key_are_found(number: float) -> None:
    assert leaks_in(json.dumps({"pin": number}))
    assert leaks_in(f'{{"m~1{Canaries().key()}": 1}}'.encode())


def test_what_may_be_said_is_no_leak() -> None:
    assert leaks({"said": SAFE, "bytes": SAFE.encode()}) == {}


def test_a_secret_that_nobody_hides_is_heard_in_every_output(monkeypatch: pytest.MonkeyPatch) -> None:
    """With redaction switched off, each form and channel that shows values or messages says it."""
    monkeypatch.setattr(classify, "hide", lambda value, _mask, _digest: value)
    monkeypatch.setattr(classify, "without_secrets", lambda value, _secrets, _digest: value)
    monkeypatch.setattr(classify, "scrub", lambda text, _secrets: text)
    secret = Canaries().text()
    failed = {"address": {"to_display": CHECK}, "status": "fail", "problems": [{"message": secret}]}
    document = samples.plan(
        samples.change({"p": secret}, {"p": "x"}, before_sensitive={"p": True}),
        checks=[{"address": {"kind": "check", "to_display": CHECK}, "status": "fail", "instances": [failed]}],
    )

    heard = leaks(said_of(result_of(reading_of(json.dumps(document)))))

    told = {name.rpartition(": ")[2] for name in heard if name.startswith("drift_found")}
    assert told == {"slack", "slack without buttons", "webhook", "mail", "short text", "issue", "message"}
    assert {name for name in heard if name.startswith(("check", "findings", "one line"))} >= {
        "check",
        *(f"check --format {form}" for form in ("json", "markdown", "junit", "sarif")),
        "findings list --format json",
        "one line",
    }
