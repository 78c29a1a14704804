"""The official OpenAI client works against the service unchanged."""

from __future__ import annotations

import openai
import pytest
from openai import OpenAI

from api.admission.key_issue import issue
from rag.access import principals
from rag.access.api_keys import KeyScope
from rag.answering import REFUSALS
from rag.errors import ModelUnavailable, StoreUnavailable
from rag.ports import Bucket
from tests.integration.serving import served
from tests.library import REALM, SALES, CurrentSubjects, Library, Written, open_library, token

QUESTION = [{"role": "user", "content": "Which hotel rate applies?"}]
DOCUMENTS = (
    Written("rates.txt", ["The hotel rate is 120 EUR.", "Trains go second class."], frozenset({SALES}), title="Rates"),
    Written("secret.txt", ["The secret hotel rate is 300 EUR."], frozenset()),
)


@pytest.fixture
def library(tmp_path) -> Library:
    return open_library(tmp_path, *DOCUMENTS)


@pytest.fixture
def url(library):
    with served(library.app()) as address:
        yield f"{address}/v1"


@pytest.fixture
def client(url):
    with OpenAI(base_url=url, api_key=token(groups=["/sales"]), max_retries=0) as opened:
        yield opened


def test_models_are_listed(client) -> None:
    assert [model.id for model in client.models.list()] == ["text-general", "extractive"]


def test_an_api_key_serves_as_well_as_a_token(library) -> None:
    subject = principals.user(REALM, "sync")
    subjects = CurrentSubjects({subject: frozenset({subject, SALES})})
    made, _ = issue(library.kustos.records, subject, {KeyScope.QUERY}, name="", days=1, by=subject)
    with served(library.app(subjects=subjects)) as url, OpenAI(base_url=f"{url}/v1", api_key=made.text) as client:
        whole = client.chat.completions.create(model="text-general", messages=QUESTION).choices[0].message
        streamed = client.chat.completions.create(model="text-general", messages=QUESTION, stream=True)
        assert "120 EUR. [1]" in whole.content
        assert "".join(each.choices[0].delta.content or "" for each in streamed) == whole.content


def test_the_client_waits_as_long_as_a_429_says_and_is_answered_then(tmp_path) -> None:
    library = open_library(tmp_path, *DOCUMENTS, requests_per_subject=120)
    bucket = Bucket(f"subject:{principals.user(REALM, 'ann')}", 120)
    while library.kustos.records.limits.take([bucket]).refused is None:
        pass
    with served(library.app()) as url, OpenAI(base_url=f"{url}/v1", api_key=token(), max_retries=3) as client:
        assert client.models.list()
    with served(library.app()) as url, OpenAI(base_url=f"{url}/v1", api_key=token(), max_retries=0) as client:
        while library.kustos.records.limits.take([bucket]).refused is None:
            pass
        with pytest.raises(openai.RateLimitError, match="120 requests a minute") as caught:
            client.models.list()
    assert caught.value.code == "rate_limited"
    assert caught.value.response.headers["retry-after"] == "1"


def test_an_answer_comes_with_its_citations(client) -> None:
    reply = client.chat.completions.create(model="text-general", messages=QUESTION, temperature=0, max_tokens=50)
    message = reply.choices[0].message
    assert reply.model == "extractive"
    assert reply.choices[0].finish_reason == "stop"
    assert "120 EUR. [1]" in message.content
    first = message.kustos["citations"][0]
    assert (first["number"], first["title"], first["page"], first["passage"]) == (1, "Rates", 1, 1)
    assert first["text"] == "The hotel rate is 120 EUR."
    assert first["document"] == DOCUMENTS[0].id


def test_a_streamed_answer_says_the_same(client) -> None:
    whole = client.chat.completions.create(model="text-general", messages=QUESTION).choices[0].message
    chunks = list(client.chat.completions.create(model="text-general", messages=QUESTION, stream=True))
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks) == whole.content
    assert len(chunks) > 2
    assert chunks[0].choices[0].delta.role == "assistant"
    assert chunks[-1].choices[0].finish_reason == "stop"
    assert chunks[-1].model_extra["kustos"] == whole.kustos


def test_the_clients_own_accumulator_reads_the_stream(client) -> None:
    with client.chat.completions.stream(model="text-general", messages=QUESTION) as stream:
        for _ in stream:
            pass
        final = stream.get_final_completion()
    assert "120 EUR" in final.choices[0].message.content


def test_a_conversation_goes_on_with_the_clients_own_messages(client) -> None:
    first = client.chat.completions.create(model="text-general", messages=QUESTION).choices[0].message
    messages = [*QUESTION, first.model_dump(), {"role": "user", "content": "And trains?"}]
    second = client.chat.completions.create(model="text-general", messages=messages).choices[0].message
    assert "second class" in second.content


def test_who_may_read_nothing_gets_the_refusal_and_no_model_is_asked(url, library) -> None:
    with OpenAI(base_url=url, api_key=token(), max_retries=0) as client:
        reply = client.chat.completions.create(model="text-general", messages=QUESTION)
    assert reply.choices[0].message.content == REFUSALS["en"]
    assert reply.choices[0].message.kustos == {"citations": []}
    assert reply.model == "none"
    assert library.answerer.seen == []


def test_an_unknown_model_is_the_clients_not_found(client) -> None:
    with pytest.raises(openai.NotFoundError, match="no model 'gpt-9'") as caught:
        client.chat.completions.create(model="gpt-9", messages=QUESTION)
    assert caught.value.code == "not_found"
    assert caught.value.request_id == caught.value.response.headers["x-request-id"]


@pytest.mark.parametrize("key", ["wrong", "e30.e30.e30", token(aud="account")])
def test_a_wrong_key_is_the_clients_authentication_error(url, key) -> None:
    with (
        OpenAI(base_url=url, api_key=key, max_retries=0) as client,
        pytest.raises(openai.AuthenticationError, match="token or API key is missing or not valid"),
    ):
        client.models.list()


def test_what_is_not_offered_is_the_clients_bad_request(client) -> None:
    with pytest.raises(openai.BadRequestError, match="'n' can only be 1"):
        client.chat.completions.create(model="text-general", messages=QUESTION, n=2)


def test_an_unknown_field_is_the_clients_unprocessable_entity(client) -> None:
    with pytest.raises(openai.UnprocessableEntityError, match="'acl' is not a field") as caught:
        client.chat.completions.create(model="text-general", messages=QUESTION, extra_body={"acl": ["x"]})
    assert caught.value.param == "acl"


def test_ft_04_a_model_that_fails_at_once_is_a_503(client, library) -> None:
    library.answerer.failure = ModelUnavailable("down")
    for stream in (False, True):
        with pytest.raises(openai.InternalServerError) as caught:
            client.chat.completions.create(model="text-general", messages=QUESTION, stream=stream)
        assert caught.value.status_code == 503
        assert caught.value.response.headers["retry-after"] == "5"


def test_ft_04_a_model_that_fails_in_the_middle_ends_the_stream_with_an_error(client, library) -> None:
    library.answerer.failure, library.answerer.fails_after = ModelUnavailable("http://10.0.0.5 is down"), 1
    stream = client.chat.completions.create(model="text-general", messages=QUESTION, stream=True)
    assert "120 EUR" in next(stream).choices[0].delta.content
    with pytest.raises(openai.APIError, match="does not answer right now") as caught:
        list(stream)
    assert "10.0.0.5" not in str(caught.value)


def test_ft_01_an_index_that_is_down_is_a_503_and_no_answer_from_elsewhere(client, library) -> None:
    library.index.down = True
    with pytest.raises(openai.InternalServerError, match="Try again in a moment") as caught:
        client.chat.completions.create(model="text-general", messages=QUESTION)
    assert caught.value.status_code == 503
    assert library.answerer.seen == []
    assert StoreUnavailable.code in str(caught.value.body)
