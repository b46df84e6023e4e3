"""Users of a local server: who a token belongs to, more users, personal access tokens. By HTTP, without a browser."""

import json
from dataclasses import dataclass, field
from http.client import HTTPException
from http.cookiejar import CookieJar
from urllib.error import HTTPError
from urllib.parse import urlencode
from urllib.request import HTTPCookieProcessor, OpenerDirector, ProxyHandler, Request, build_opener

from schemas.errors import LabelStudioError

TIMEOUT_S = 60.0
"""Of one call: SQLite on a busy machine takes seconds."""


@dataclass(frozen=True, slots=True)
class Account:
    """One user; the token is a legacy token, which does not expire."""

    user_name: str
    password: str = field(repr=False)
    token: str = field(repr=False)


def whoami(url: str, token: str) -> str:
    """The user name that a legacy token belongs to. Raises LabelStudioError if the server refuses it."""
    return _text(_open(_direct(), _request(url, "/api/current-user/whoami", token)), "email")


def personal_access_token(url: str, token: str) -> str:
    """A new personal access token of the user with this legacy token; the server shows it this once.

    Raises LabelStudioError if the user has one already: Label Studio gives each user one at a time.
    """
    return _text(_open(_direct(), _request(url, "/api/token/", token, b"{}")), "token")


def add_user(url: str, inviting_token: str, user_name: str, password: str) -> Account:
    """Sign a user up by the organisation's invitation link, as a person would, and give its account.

    user_name: an e-mail address; nothing is sent to it. password: 8 characters or more.
    Raises LabelStudioError if the server refuses, such as where the user is there already.
    """
    invitation = url + _text(_open(_direct(), _request(url, "/api/invite", inviting_token)), "invite_url")
    session = sign_up(invitation, user_name, password)
    try:
        token = _text(_open(session, _request(url, "/api/current-user/token")), "token")
    except LabelStudioError as error:  # a form with a mistake is shown again, at status 200
        raise LabelStudioError(
            f"{url} did not sign {user_name} up", do="use a new e-mail address and a password of 8 characters or more"
        ) from error
    return Account(user_name, password, token)


def sign_up(address: str, user_name: str, password: str) -> OpenerDirector:
    """Fill in the form at the address and give the session, which is the user's if the form was accepted."""
    cookies = CookieJar()
    session = _direct(HTTPCookieProcessor(cookies))
    _open(session, Request(address))  # noqa: S310  our own server's address
    guard = next((cookie.value for cookie in cookies if cookie.name == "csrftoken"), None) or ""
    form = urlencode({"email": user_name, "password": password, "csrfmiddlewaretoken": guard})
    _open(session, Request(address, data=form.encode(), headers={"Referer": address}))  # noqa: S310
    return session


def _request(url: str, path: str, token: str = "", body: bytes | None = None) -> Request:
    headers = {"Content-Type": "application/json"}
    if token:
        headers["Authorization"] = f"Token {token}"
    return Request(url + path, data=body, headers=headers)  # noqa: S310  our own server's address


def _direct(*handlers: HTTPCookieProcessor) -> OpenerDirector:
    """The server is on this machine: a proxy that the environment names must see neither call nor token."""
    return build_opener(ProxyHandler({}), *handlers)


def _open(session: OpenerDirector, request: Request) -> bytes:
    address = request.full_url.partition("?")[0]  # an invitation's query is a secret
    try:
        with session.open(request, timeout=TIMEOUT_S) as response:
            content: bytes = response.read()
    except HTTPError as error:
        with error:
            said = error.read(300).decode(errors="replace")
        raise LabelStudioError(f"{address} answered {error.code}: {said}") from error
    except (OSError, HTTPException) as error:
        raise LabelStudioError(f"{address} does not answer: {error}", do="start the server") from error
    return content


def _text(content: bytes, key: str) -> str:
    try:
        return str(json.loads(content)[key])
    except (ValueError, KeyError, TypeError) as error:
        raise LabelStudioError(f"no {key} in the server's answer {content[:200]!r}") from error
