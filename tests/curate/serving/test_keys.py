"""Who may ask: an endpoint with a key of its own, which goes no further."""

import openai
import pytest

from tests.curate.serving.running import chat
from tests.llm_server.server import FATAL_KEY


@pytest.mark.parametrize("given", [None, "Bearer mi", "Bearer minemine", "mine", "Basic mine", "Bearer mine\u00e9"])
def test_a_client_without_the_key_is_refused_before_the_upstream_is_asked(serve, server, taught, given):
    running = serve(taught, client_key="mine")
    headers = {} if given is None else {"Authorization": given.encode()}
    for path in ("/v1/chat/completions", "/v1/embeddings"):
        refused = running.post(chat("Client 1"), path, headers=headers)
        assert (refused.status_code, refused.json()["error"]["code"]) == (401, "invalid_api_key")
    assert not server.asked


def test_openais_client_is_told_as_by_openai(serve, server, taught):
    running = serve(taught, client_key="mine")
    with running.client("other") as client, pytest.raises(openai.AuthenticationError, match="wants a key of its own"):
        client.chat.completions.create(**chat("Client 1"))


@pytest.mark.parametrize("upstream_key", [None, "theirs"])
def test_the_clients_key_goes_no_further(serve, server, taught, upstream_key):
    with serve(taught).client(FATAL_KEY) as client, pytest.raises(openai.AuthenticationError):  # the upstream's refusal
        client.chat.completions.create(**chat("Client 1"))
    running = serve(taught, client_key=FATAL_KEY, upstream_key=upstream_key)
    with running.client(FATAL_KEY) as client:
        assert client.chat.completions.create(**chat("Client 1")).choices[0].message.content
    assert running.get("/health").status_code == 200
