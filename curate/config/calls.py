"""What `pipelines.toml` may say about calls to one model: where it is, how it is asked, how fast, for how much."""

from collections.abc import Sequence
from datetime import date
from decimal import Decimal
from typing import Annotated, Any, Literal, Self, TypeVar

from pydantic import Field, field_validator, model_validator

from curate.config.table import Money, Table

C = TypeVar("C", bound="CallConfig")

OURS = frozenset(
    {
        "model",
        "messages",
        "prompt",
        "system",
        "stream",
        "n",
        "max_tokens",
        "max_completion_tokens",
        "seed",
        "best_of",
        "cache_control",
    }
)
"""Fields of a request that have keys of their own, or that would change how many answers come and how they are read."""


class Price(Table):
    """USD per million tokens."""

    input: Money
    """USD per million input tokens."""
    output: Money
    """USD per million output tokens."""
    cached: Money | None = None
    """USD per million input tokens that the server had in its cache; the price of input where it is not given."""
    batch_factor: Annotated[Money, Field(le=1)] = Decimal("0.5")
    """What a call in a batch costs, relative to one of its own; both vendors take half."""
    as_of: str | None = Field(default=None, pattern=r"^\d{4}-\d{2}-\d{2}$")
    """The day on which this price was read, YYYY-MM-DD; `curate run --dry-run` shows it."""

    @field_validator("as_of")
    @classmethod
    def _is_a_day(cls, as_of: str | None) -> str | None:
        if as_of is not None:
            date.fromisoformat(as_of)
        return as_of

    @model_validator(mode="after")
    def _cached_is_cheaper(self) -> Self:
        if self.cached is not None and self.cached > self.input:
            raise ValueError(f"cached tokens ({self.cached}) cannot cost more than input ({self.input})")
        return self


class SamplingConfig(Table):
    """How a model is sampled; what is not given is left to the server."""

    temperature: float | None = None
    """0 is greedy; the paper's upstream models use 0.5."""
    top_p: float | None = None
    """Nucleus mass, 0..1; the paper uses 0.95."""
    top_k: int | None = None
    """The paper uses 10."""
    repetition_penalty: float | None = None
    """The paper uses 1.1."""
    max_tokens: int = Field(default=2048, ge=1)
    """New tokens at most; the paper uses 2048."""
    seed: int | None = None
    """Sent to the server where given; the second answer to a prompt is asked with the next number."""


class CallConfig(Table):
    """Keys that say how calls to one model are made."""

    provider: Literal["openai", "anthropic", "recorded"] | None = None
    """The protocol that the server speaks; `recorded` answers from a file."""
    base_url: str | None = Field(default=None, pattern=r"^https?://.")
    """Root of the API, such as http://127.0.0.1:8000/v1; without it the vendor's own."""
    model: str | None = None
    """The model as the server calls it; the name where it is not given."""
    reported_as: str | None = Field(default=None, min_length=1)
    """The model's name in replies, where the server reports another one than it is asked by; "*" takes any."""
    api_key_env: str | None = Field(default=None, max_length=60, pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")
    """Name of the environment variable that holds the key; never the key itself."""
    path: str | None = None
    """File of recorded texts, relative to the configuration file."""
    columns: dict[Literal["prompt", "model", "answer", "question", "correction"], str] = Field(default_factory=dict)
    """Column names in the recorded file, where they differ from ours."""
    protocol: Literal["chat", "completions"] = "chat"
    """openai only: `completions` sends plain text, for base models that know no roles."""
    prompt_template: str = "{prompt}"
    """completions only: the text around a prompt, such as "### Instruction:\\n{prompt}\\n\\n### Response:\\n"."""
    extra_body: dict[str, Any] = Field(default_factory=dict)
    """More fields of the request body, as the server knows them: stop, min_p, logit_bias, …"""
    max_tokens_name: Literal["max_tokens", "max_completion_tokens"] = "max_tokens"
    """openai only: what the server calls max_tokens; OpenAI's reasoning models want max_completion_tokens."""
    mode: Literal["online", "batch"] = "online"
    """`batch` hands calls over as files and fetches answers hours later, at about half the price."""
    batch_requests: int = Field(default=10_000, ge=1, le=50_000)
    """batch only: most calls of one batch (OpenAI takes 50,000, Anthropic 100,000)."""
    batch_poll_s: float = Field(default=60.0, gt=0)
    """batch only: how often the provider is asked whether a batch has ended."""
    limit_group: str | None = Field(default=None, min_length=1)
    """Models of one group share its limits (one account, one GPU): the tightest limit of each kind holds for all."""
    max_in_flight: int = Field(default=32, ge=1)
    """Calls that wait for this model at the same time, at most; fewer while the server says that it is too much."""
    requests_per_minute: float | None = Field(default=None, gt=0)
    """Pace; without it the limit that the server tells in its headers, if it does."""
    tokens_per_minute: float | None = Field(default=None, gt=0)
    """Pace by tokens: a quarter of the body's bytes plus max_tokens are reserved for each call, then settled."""
    max_attempts: int = Field(default=5, ge=1)
    """How often a call is sent before a passing fault becomes a failure row."""
    timeout_s: float = Field(default=600.0, gt=0)
    """Longest wait for one reply."""
    longest_wait_s: float = Field(default=120.0, gt=0)
    """Longest pause that a server may ask for by Retry-After; one that asks for more again and again is stopped."""
    sampling: SamplingConfig = SamplingConfig()
    """Sampling settings."""
    price: Price | None = None
    """What tokens cost; needed where a budget is set."""
    budget_usd: Money | None = None
    """Hard limit for this model in this stage, over all runs."""

    @model_validator(mode="after")
    def _keys_go_with_the_provider(self) -> Self:
        if taken := sorted(OURS & self.extra_body.keys()):
            raise ValueError(f"extra_body may not hold {', '.join(taken)}: the toolkit sets or needs them itself")
        if self.protocol == "completions" and self.provider != "openai":
            raise ValueError('protocol = "completions" goes with provider = "openai"')
        if "{prompt}" not in self.prompt_template:
            raise ValueError("prompt_template has no place for {prompt}")
        if self.mode == "batch" and self.provider not in {"openai", "anthropic"}:
            raise ValueError('mode = "batch" needs a server: provider "openai" or "anthropic"')
        return self


def whole(config: C) -> C:
    """The configuration of a model that can be called. Raises ValueError."""
    if config.provider is None:
        raise ValueError("`provider` is missing: openai, anthropic or recorded")
    if config.provider == "recorded" and config.path is None:
        raise ValueError('provider = "recorded" needs `path`, the file of recorded answers')
    if config.provider != "recorded" and config.path is not None:
        raise ValueError(f'`path` goes with provider = "recorded", not with "{config.provider}"')
    return config


def check_budget(budget_usd: Decimal | None, models: Sequence[tuple[str, CallConfig]]) -> None:
    """Raises ValueError where a limit is set for a model whose price is not known."""
    unpriced = [
        name
        for name, model in models
        if model.price is None and model.provider != "recorded" and (budget_usd, model.budget_usd) != (None, None)
    ]
    if unpriced:
        raise ValueError(f"budget_usd needs a price for each model; none for: {', '.join(unpriced)}")


def check_requests(models: Sequence[tuple[str, CallConfig]]) -> None:
    """The ledger knows a request by provider, served model and body: two servers must not share all three."""
    seen: dict[tuple[str | None, str, str], CallConfig] = {}
    for name, one in models:
        served = (one.provider, one.model or name, one.model_dump_json(include={"sampling", "extra_body", "protocol"}))
        other = seen.setdefault(served, one)
        if one.provider not in {None, "recorded"} and other.base_url != one.base_url:
            raise ValueError(f'two servers call their model "{served[1]}": serve one under another name')
