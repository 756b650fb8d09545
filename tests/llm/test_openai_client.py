"""What the openai client must keep to itself, and which error of ours each of its own is."""

import httpx2
import openai
import pytest

from dexto_magic.errors import (
    ModelAuthenticationError,
    ModelRateLimitError,
    ModelRequestError,
    ModelUnavailableError,
    SettingsError,
)
from dexto_magic.llm.failures import Target
from dexto_magic.llm.openai_client import failure_of
from dexto_magic.llm.providers import LLMConfig
from tests.support.asking import KEY, ask, request
from tests.support.openai_answers import redirect
from tests.support.openai_server import OpenAIServer

TARGET = Target(
    provider="openai",
    model="gpt-4o",
    base_url="https://api.openai.com/v1",
    key=None,
    timeout=120.0,
    connect_timeout=10.0,
)
SENT = httpx2.Request("POST", "https://api.openai.com/v1/chat/completions")


def at(server, provider="openai"):
    return LLMConfig(provider=provider, model="gpt-4o", base_url=server.base_url)


class TestWhatStaysHere:
    @pytest.fixture(autouse=True)
    def openai_environment(self, monkeypatch):
        """Everything that the openai client takes from its environment."""
        monkeypatch.setenv("OPENAI_API_KEY", "sk-secret-of-openai")
        monkeypatch.setenv("OPENAI_ORG_ID", "org-secret")
        monkeypatch.setenv("OPENAI_PROJECT_ID", "proj-secret")
        monkeypatch.setenv("OPENAI_ADMIN_KEY", "sk-admin-secret")
        monkeypatch.setenv("OPENAI_WEBHOOK_SECRET", "whsec-secret")
        monkeypatch.setenv("OPENAI_CUSTOM_HEADERS", "x-custom: my-secret\nAuthorization: Bearer x")
        monkeypatch.setenv("OPENAI_BASE_URL", "http://127.0.0.1:9/elsewhere")

    @pytest.mark.parametrize("provider", ["groq", "ollama", "azure", "openai"])
    def test_nothing_of_openais_account_goes_to_another_host(self, server, provider):
        ask(at(server, provider))
        (sent,) = server.chats
        assert sent.key == KEY
        assert "secret" not in str(sent.headers).replace(KEY, "")
        assert "openai-organization" not in sent.headers

    def test_openais_account_goes_along_where_its_own_variable_says(self, server, monkeypatch):
        monkeypatch.setenv("OPENAI_BASE_URL", server.base_url)
        ask("openai:gpt-4o")
        (sent,) = server.chats
        assert sent.headers["openai-organization"] == "org-secret"
        assert sent.headers["x-custom"] == "my-secret"
        assert sent.key == KEY

    def test_a_proxy_never_sees_what_stays_on_this_machine(self, server, monkeypatch):
        for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
            monkeypatch.setenv(name, "http://127.0.0.1:9")
        assert ask(at(server), request("Repeat after me: here")).text == "here"

    def test_a_redirect_is_not_followed(self, server):
        with OpenAIServer() as other:
            server.script(redirect(f"{other.base_url}/chat/completions"))
            heard = ask(at(server))
            assert other.requests == []
        assert isinstance(heard.error, ModelRequestError)
        assert f"redirects to {other.base_url}/chat/completions (307)" in str(heard.error)

    def test_a_proxy_that_cannot_be_used_is_a_setting_to_correct(self, monkeypatch):
        monkeypatch.setenv("ALL_PROXY", "gopher://user:hunter2@127.0.0.1")
        with pytest.raises(SettingsError, match="ALL_PROXY") as caught:
            ask("groq:llama")
        assert "hunter2" not in str(caught.value)
        assert caught.value.__cause__.__traceback__ is None, "its frames hold the password"


def of_status(kind, code):
    return kind("m", response=httpx2.Response(code, request=SENT), body=None)


def subclasses(kind):
    return {kind}.union(*(subclasses(each) for each in kind.__subclasses__()))


RAISED_FOR_A_SERVER = [
    (of_status(openai.BadRequestError, 400), ModelRequestError),
    (of_status(openai.AuthenticationError, 401), ModelAuthenticationError),
    (of_status(openai.PermissionDeniedError, 403), ModelAuthenticationError),
    (of_status(openai.NotFoundError, 404), ModelRequestError),
    (of_status(openai.ConflictError, 409), ModelUnavailableError),
    (of_status(openai.UnprocessableEntityError, 422), ModelRequestError),
    (of_status(openai.RateLimitError, 429), ModelRateLimitError),
    (of_status(openai.InternalServerError, 503), ModelUnavailableError),
    (of_status(openai.APIStatusError, 408), ModelUnavailableError),
    (of_status(openai.APIStatusError, 402), ModelRateLimitError),
    (of_status(openai.APIStatusError, 308), ModelRequestError),
    (of_status(openai.APIStatusError, 405), ModelRequestError),
    (
        openai.OAuthError(response=httpx2.Response(401, request=SENT), body=None),
        ModelAuthenticationError,
    ),
    (openai.APIConnectionError(request=SENT), ModelUnavailableError),
    (openai.APITimeoutError(request=SENT), ModelUnavailableError),
    (openai.APIError("m", SENT, body=None), ModelUnavailableError),
    (
        openai.APIResponseValidationError(httpx2.Response(200, request=SENT), None),
        ModelUnavailableError,
    ),
]

RAISED_BY_THE_CLIENT_ALONE = {
    "APIRemovedInV1",
    "ContentFilterFinishReasonError",
    "LengthFinishReasonError",
    "MutuallyExclusiveAuthError",
    "OpenAIError",
    "StreamAlreadyConsumed",
    "SubjectTokenProviderError",
    "WebSocketConnectionClosedError",
    "WebSocketQueueFullError",
    "_AmbiguousModuleClientUsageError",
}


class TestEveryExceptionOfTheClient:
    def test_each_class_is_known_here(self):
        """One that a later openai adds fails until somebody has decided what it means."""
        known = {type(exc).__name__ for exc, _ in RAISED_FOR_A_SERVER} | RAISED_BY_THE_CLIENT_ALONE
        assert {kind.__name__ for kind in subclasses(openai.OpenAIError)} == known

    @pytest.mark.parametrize(("exc", "error"), RAISED_FOR_A_SERVER)
    def test_each_is_one_of_our_errors(self, exc, error):
        assert failure_of(exc, TARGET, began=False).error is error

    def test_those_about_no_server_are_about_the_request(self):
        for kind in subclasses(openai.OpenAIError):
            if kind.__name__ in RAISED_BY_THE_CLIENT_ALONE:
                failure = failure_of(kind.__new__(kind), TARGET, began=False)
                assert failure.error is ModelRequestError

    @pytest.mark.parametrize(
        "kind", [ValueError, TypeError, AttributeError, RecursionError, OSError]
    )
    def test_those_of_decoding_are_the_servers_fault(self, kind):
        failure = failure_of(kind("m"), TARGET, began=True)
        assert failure.error is ModelUnavailableError
        assert not failure.retryable
