"""The errors of this project: each says what happened, to what, and what to do next."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from schemas.records import Response


class CurateError(Exception):
    """Base of all our errors: one sentence on what happened, one on what to do next."""

    exit_code = 1

    def __init__(self, what: str, *, do: str = "") -> None:
        what = what.encode("utf-8", errors="replace").decode("utf-8")  # halves of surrogate pairs cannot be stored
        super().__init__(what)
        self.what = what
        self.do = do

    def __str__(self) -> str:
        return f"{self.what}\n  -> {self.do}" if self.do else self.what


class UsageError(CurateError):
    """The command was called in a way that cannot work (exit code 2)."""

    exit_code = 2


class ConfigError(UsageError):
    """`pipelines.toml` is missing, unreadable or says something that we do not understand."""


class MissingExtraError(CurateError):
    """A stage needs a library that is not installed."""

    def __init__(self, purpose: str, library: str, extra: str) -> None:
        super().__init__(
            f'{purpose} needs {library}: install the "{extra}" extra',
            do=f"pip install 'aligner-curation[{extra}]'",
        )


class SourceError(CurateError):
    """A source file is missing, broken as a whole, or of another shape than configured."""


class StoreError(CurateError):
    """A run directory is not what it should be: a file is missing or changed since it was published."""


class LockedError(CurateError):
    """Another process is writing into the same run directory."""


class AccountingError(CurateError):
    """A stage tried to publish tables whose rows do not add up: a bug in the stage, never a user's fault."""


class StageNotReadyError(CurateError):
    """The input of a stage is missing or stale."""


class WaitingError(CurateError):
    """People must act before a stage can go on."""

    exit_code = 3


class StageError(CurateError):
    """A stage cannot go on although its input is there."""


class ReleaseError(CurateError):
    """A release is missing, incomplete or differs from its manifest."""


class ShapeError(CurateError):
    """A matrix has another shape, type or length of rows than the function needs."""


class LabelStudioError(CurateError):
    """Label Studio cannot be installed, started or reached, or it refuses what it was asked for."""


class RequestError(CurateError):
    """One request failed for good: it becomes a failure row of this kind, and the run goes on.

    response: what the server sent, if anything came. is_possibly_paid: whether the call may be on the bill although
    there is no answer (a time-out, a connection that broke while the server was at work).
    """

    response: "Response | None" = None
    is_possibly_paid: bool = False

    def __init__(self, kind: str, detail: str) -> None:
        super().__init__(f"{kind}: {detail}")
        self.kind = kind
        self.detail = detail.encode("utf-8", errors="replace").decode("utf-8")


class ProviderBusyError(RequestError):
    """A passing fault (429, 5xx, time-out, broken connection): the same request may succeed later."""

    def __init__(self, kind: str, detail: str, retry_after_s: float | None = None) -> None:
        super().__init__(kind, detail)
        self.retry_after_s = retry_after_s


class UndecidedBatchError(ProviderBusyError):
    """A batch is at work that may be the one which is looked for: only its results will tell."""


class ProviderDownError(RequestError):
    """No request to this provider can succeed (bad key, unknown model, no quota): it stops, others go on."""
