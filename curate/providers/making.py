"""From the configuration of a model to the provider that reaches it."""

import os
from collections.abc import Mapping
from typing import Any

from curate.config.calls import CallConfig
from curate.config.model import Pipeline
from curate.providers.endpoint import Dialect, Endpoint
from schemas.errors import ConfigError
from schemas.records import Provider, Sampling


def make_provider(
    pipeline: Pipeline, name: str, config: CallConfig, reply_schema: Mapping[str, Any] | None = None
) -> Provider:
    """The provider of the model `name`. Raises ConfigError where its key is not set, MissingExtraError.

    reply_schema: JSON schema that every reply is held to, as both vendors and vLLM know it.
    """
    sampling = Sampling(**config.sampling.model_dump())
    model = config.model or name
    if config.provider == "recorded":
        from curate.providers.recorded import RecordedAnswers

        return RecordedAnswers(pipeline.path(str(config.path)), str(config.path), model, config.columns)
    endpoint = Endpoint(api_key(name, config), config.base_url, config.timeout_s, config.max_in_flight)
    if config.provider == "anthropic":
        from curate.providers.anthropic import AnthropicProvider

        held = {} if reply_schema is None else {"format": {"type": "json_schema", "schema": reply_schema}}
        output = {"output_config": {**config.extra_body.get("output_config", {}), **held}} if held else {}
        return AnthropicProvider(model, sampling, endpoint, {**config.extra_body, **output})
    from curate.providers.openai import OpenAIProvider

    named = {"name": "reply", "strict": True, "schema": reply_schema}
    format_ = {} if reply_schema is None else {"response_format": {"type": "json_schema", "json_schema": named}}
    dialect = Dialect({**config.extra_body, **format_}, config.max_tokens_name, config.protocol, config.prompt_template)
    return OpenAIProvider(model, sampling, endpoint, dialect)


def api_key(name: str, config: CallConfig) -> str:
    """The key from the named environment variable; a server of one's own may need none."""
    if config.api_key_env is None:
        if config.base_url is None:
            raise ConfigError(f"{name}: the vendor's API needs a key", do="name its variable with api_key_env")
        return "none"
    key = os.environ.get(config.api_key_env, "").strip()
    if not key:
        raise ConfigError(
            f"{name}: the environment variable {config.api_key_env} (its api_key_env) is not set",
            do=f"export {config.api_key_env}=…",
        )
    if not (key.isascii() and key.isprintable()):
        raise ConfigError(
            f"{name}: the key in {config.api_key_env} holds characters that no key has",
            do="set the variable to the key alone: one line, no quotes",
        )
    return key
