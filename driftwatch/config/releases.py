"""Where `driftwatch tools install` gets terraform and tofu from, and what makes it believe what it gets.

Nothing here makes a daemon install anything: it is read when a person runs that command.
"""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field

from driftwatch.config import values
from driftwatch.config.durations import PositiveDuration  # noqa: TC001  (pydantic reads annotations)
from driftwatch.config.hosts import names_off_limits
from driftwatch.config.places import LocalPath  # noqa: TC001  (as above)
from driftwatch.config.section import Section, WebUrl, once

HASHICORP = "C874011F0AB405110D02105534365D9472D7468F"
"""HashiCorp's release key, of security@hashicorp.com. It was renewed in 2026: an older copy has expired."""

OPENTOFU = "E3E6E43D84CB852EADB0051D0C0AF313E5FD9F80"
"""OpenTofu's release key, of core@opentofu.org."""

_ARCHIVE = re.compile(r"(?:terraform|tofu)_[0-9][0-9A-Za-z.~-]*_[a-z0-9]+_[a-z0-9]+\.zip")
_SHA256 = re.compile(r"[0-9a-f]{64}")
_FINGERPRINT = re.compile(r"[0-9A-F]{40}|[0-9A-F]{64}")


def _mirror(url: str) -> str:
    """Nothing of a release may be changed on its way, nor may it be known who asks for which."""
    if not may_be_asked(url):
        raise ValueError("must be https, and not of an address that is nobody's")
    if "?" in url or "#" in url:
        raise ValueError("must end with a path: names of files are put behind it")
    return url.rstrip("/")


def may_be_asked(url: str) -> bool:
    """Whether something may be fetched from there: by https, or from this machine."""
    try:
        host = urlsplit(url).hostname or ""
    except ValueError:
        return False
    if not host or names_off_limits(host):
        return False
    return url.startswith("https://") or (url.startswith("http://") and values.is_loopback_url(url))


def _fingerprint(text: str) -> str:
    tidy = re.sub(r"\s|:", "", text).upper().removeprefix("0X")
    if not _FINGERPRINT.fullmatch(tidy):
        raise ValueError("must be the whole fingerprint, 40 hexadecimal digits: a short id can be forged")
    return tidy


def _archive(name: str) -> str:
    if not _ARCHIVE.fullmatch(name):
        raise ValueError("must be the name of an archive, such as terraform_1.11.4_linux_amd64.zip")
    return name


def _sha256(text: str) -> str:
    if not _SHA256.fullmatch(text.lower()):
        raise ValueError("must be a SHA-256, 64 hexadecimal digits")
    return text.lower()


Mirror = Annotated[WebUrl, AfterValidator(_mirror)]
Fingerprints = Annotated[tuple[Annotated[str, AfterValidator(_fingerprint)], ...], AfterValidator(once)]


class ReleasesSettings(Section):
    """Where versions of terraform and tofu are got from, when a person says so, and how they are verified."""

    terraform_url: Mirror = Field(
        default="https://releases.hashicorp.com",
        description="Base of a mirror of Terraform's releases; https. Below it lies "
        "terraform/VERSION/terraform_VERSION_OS_ARCH.zip, with _SHA256SUMS and _SHA256SUMS.sig. "
        "Default the vendor's own: nobody else is to be trusted before somebody says so.",
    )
    tofu_url: Mirror = Field(
        default="https://github.com/opentofu/opentofu/releases/download",
        description="Base of a mirror of OpenTofu's releases; https. Below it lies "
        "vVERSION/tofu_VERSION_OS_ARCH.zip, with _SHA256SUMS and _SHA256SUMS.gpgsig. "
        "Default the vendor's own, as for terraform_url.",
    )
    keys: tuple[LocalPath, ...] = Field(
        default=(),
        description="Files with the vendors' public PGP keys, relative to this file; one may hold several. "
        "Default none: get them from the vendors (hashicorp.com/.well-known/pgp-key.txt, "
        "get.opentofu.org/opentofu.asc); nothing is installed unverified.",
    )
    terraform_fingerprints: Fingerprints = Field(
        default=(HASHICORP,),
        min_length=1,
        description="Fingerprints of the primary keys that may sign Terraform's releases. Default "
        "HashiCorp's: whatever else is in the key files counts for nothing.",
    )
    tofu_fingerprints: Fingerprints = Field(
        default=(OPENTOFU,),
        min_length=1,
        description="Fingerprints of the primary keys that may sign OpenTofu's releases. Default "
        "OpenTofu's, as for terraform_fingerprints.",
    )
    pinned: dict[Annotated[str, AfterValidator(_archive)], Annotated[str, AfterValidator(_sha256)]] = Field(
        default_factory=dict,
        description="SHA-256 by name of archive, as a line of _SHA256SUMS has them; an archive that is "
        "named here needs no key and no signature. Default none: whoever has no key, or no way out, "
        "writes down what they have verified elsewhere.",
    )
    timeout: PositiveDuration = Field(
        default=timedelta(minutes=10),
        description="Longest download; a duration. Default 10m: 100 MB over a slow line fit.",
    )
