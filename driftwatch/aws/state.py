"""A Terraform state that lies in S3, read directly: milliseconds instead of the seconds of `state pull`.

Says what lies there, as bytes; whose state it is and of which serial is the caller's to see. Asks with the
ETag of what is known already, so that a state that did not move costs no transfer.

What cannot be read with Terraform's own meaning is refused with StateUnreadableError, and the caller has
terraform read it. Writes nothing and takes no lock. botocore is imported with the first read.
"""

from __future__ import annotations

from contextlib import closing
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from driftwatch.aws.backend import s3_backend
from driftwatch.aws.failures import code_and_status, is_passing, translated
from driftwatch.errors import CredentialsExpiredError, CredentialsMissingError, StateUnreadableError
from driftwatch.log import redact

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

TIMEOUT_SECONDS = 10.0

LARGEST_BYTES = 512 * 1024 * 1024
"""Far over what Terraform itself can work with; a state is read into memory."""

_PIECE_BYTES = 1024 * 1024
_NOT_MODIFIED = 304
_REFUSALS = (401, 403)
_ARCHIVED = "InvalidObjectState"
"""A refusal by status that no other credentials would change."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredState:
    """What lies in the bucket.

    `content` is None where nothing changed since `etag`, and empty where there is no object: no state yet.
    """

    etag: str | None
    content: bytes | None = field(repr=False)


class S3State:
    """One workspace's state. For one thread at a time; keeps its client, which costs more than a read.

    `environment` is what the stack's terraform gets, and `directory` where it runs: nothing of our own
    process's environment counts. `timeout` is in seconds, for each attempt to connect and each wait for data.
    Raises StateUnreadableError where `config` says what driftwatch does not understand.
    """

    def __init__(
        self,
        config: Mapping[str, Any],
        workspace: str,
        environment: Mapping[str, str],
        *,
        directory: Path,
        timeout: float = TIMEOUT_SECONDS,
    ) -> None:
        self._backend = s3_backend(config, environment, directory)
        self._key = self._backend.object_key(workspace)
        self._name = f"s3://{self._backend.bucket}/{self._key}"
        self._timeout = timeout
        self._client: Any = None

    def read(self, unless: str | None = None) -> StoredState:
        """What lies there now; without its content if its ETag is still `unless`.

        Raises StateUnreadableError, CredentialsExpiredError, CredentialsMissingError, CloudThrottledError or
        CloudUnreachableError.
        """
        try:
            with translated(f"S3 does not give {self._name}"):
                return self._read(unless)
        except (CredentialsExpiredError, CredentialsMissingError):
            # Credentials are looked up when the client is made: a person may have renewed them since.
            self._client = None
            raise

    def _read(self, unless: str | None) -> StoredState:
        from botocore import exceptions

        try:
            self._client = self._client or self._connected()
            answer = self._client.get_object(**self._request(unless))
        except exceptions.ClientError as error:
            return self._instead(error, unless)
        except (
            exceptions.ValidationError,
            exceptions.ParamValidationError,
            exceptions.EndpointProviderError,
            exceptions.UnsupportedS3ArnError,
            exceptions.UnsupportedS3ConfigurationError,
            exceptions.UnsupportedS3AccesspointConfigurationError,
        ) as error:
            raise self._unreadable(str(error)) from error
        return StoredState(etag=answer.get("ETag"), content=self._content(answer))

    def _request(self, unless: str | None) -> dict[str, Any]:
        asked = {"Bucket": self._backend.bucket, "Key": self._key}
        known = {"IfNoneMatch": unless} if unless else {}
        key = self._backend.customer_key
        encrypted = {"SSECustomerAlgorithm": "AES256", "SSECustomerKey": key} if key else {}
        return {**asked, **known, **encrypted}

    def _instead(self, error: Any, unless: str | None) -> StoredState:
        """What an answer means that is not the object; raises where it says nothing of it."""
        code, status = code_and_status(error)
        if error.operation_name != "GetObject":
            raise error  # of a role, or of where the bucket is: about credentials
        if status == _NOT_MODIFIED and unless:
            return StoredState(etag=unless, content=None)
        if code == "NoSuchKey":
            return StoredState(etag=None, content=b"")
        refused = status in _REFUSALS and code != _ARCHIVED
        if is_passing(error) or refused or code == "InvalidToken":
            raise error
        raise self._unreadable(f"{error} (HTTP status {status})") from error

    def _content(self, answer: Mapping[str, Any]) -> bytes:
        """The body; botocore raises where it ends before its length, or has another checksum."""
        content = bytearray()
        with closing(answer["Body"]) as body:
            size = int(answer.get("ContentLength") or 0)
            while size <= LARGEST_BYTES and (piece := body.read(_PIECE_BYTES)):
                content += piece
                size = max(size, len(content))
        if size > LARGEST_BYTES:
            raise self._unreadable(f"it is larger than {LARGEST_BYTES // 2**20} MiB")
        return bytes(content)

    def _connected(self) -> Any:
        """A client as the backend asks for; its region is where Terraform wants it, else the profile's."""
        from botocore.config import Config

        from driftwatch.aws.session import ATTEMPTS, EnvironmentSession

        backend = self._backend
        session = EnvironmentSession(backend.environment, timeout=self._timeout, settings=backend.settings)
        if not session.get_config_variable("region"):
            raise self._unreadable("no `region` is set, neither in the backend nor in the environment")
        checksums = "when_supported" if backend.checksums else "when_required"
        config = Config(
            retries={"total_max_attempts": backend.attempts or ATTEMPTS, "mode": backend.retry_mode},
            response_checksum_validation=checksums,
            s3={
                # botocore would choose by the endpoint.
                "addressing_style": "path" if backend.path_style else "virtual",
                "us_east_1_regional_endpoint": "regional",
            },
        )
        return session.create_client("s3", config=config)

    def _unreadable(self, why: str) -> StateUnreadableError:
        return StateUnreadableError(redact(f"S3 does not give {self._name}: {why}"))
