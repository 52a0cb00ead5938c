"""Who may look at the page: the checks that every request passes before anything answers it.

Theory of operation
-------------------
A page that is served where other pages are looked at has two kinds of visitors who were not asked: other machines, and
pages of strangers in the same browser.

* Machines: whoever serves at any address but those of the machine itself needs a token. It comes once in the address
  (``/?token=…``), is compared in constant time, and is answered by a cookie that scripts cannot read and that no other
  site's page sends along, and by an address without it. The cookie is a secret of its own, made when the program began.
* Pages of strangers: a name that somebody else's name server points here (DNS rebinding) is not among the names that
  the page has, so its requests are refused by their ``Host``; those of other origins by their ``Origin`` or by what the
  browser says of where they come from (``Sec-Fetch-Site``), links that a person follows excepted. No answer allows
  another origin anything.

Nothing here writes to a log, and no answer repeats what was asked.

What it cannot see: who listens on the way. There is no encryption; beyond the machine it belongs behind something that
has it, or at the end of ``ssh -L``.
"""

from __future__ import annotations

import hmac
import ipaddress
import secrets
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from http.cookies import CookieError, SimpleCookie
from typing import Any
from urllib.parse import parse_qs, urlsplit

from starlette.datastructures import Headers
from starlette.responses import PlainTextResponse, RedirectResponse, Response

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

LOCAL_NAMES = frozenset({"localhost"})

MOST_QUERY_BYTES = 2_000

HEADERS = {
    "Cache-Control": "no-store",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}
"""Of every answer."""

REFUSED = "refused: this page is for itself alone"


class Guard:
    """Let through what may be answered.

    Parameters
    ----------
    app : ASGI application
        What answers.
    token : str or None
        What visitors must know; None where everybody on the machine may look.
    names : iterable of str
        What the page may be called besides addresses and ``localhost``.
    policy : str
        The content security policy of the page.
    """

    def __init__(self, app: App, token: str | None, names: Iterable[str], policy: str) -> None:
        self._app = app
        self._token = token
        self._names = LOCAL_NAMES | {name.lower() for name in names}
        self._secret = secrets.token_urlsafe(32)
        self._headers = {**HEADERS, "Content-Security-Policy": policy}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, or have it answered."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        if scope["type"] != "http":
            return  # nothing else is spoken here
        answer = self._refusal(scope)

        async def send_with_headers(message: MutableMapping[str, Any]) -> None:
            if message["type"] == "http.response.start":
                names = {name.lower() for name, _ in message["headers"]}
                added = [(name.lower().encode(), value.encode()) for name, value in self._headers.items()]
                message["headers"] = [*message["headers"], *(pair for pair in added if pair[0] not in names)]
            await send(message)

        await (answer or self._app)(scope, receive, send_with_headers)

    # -------------------------------------------------------------------------------------------------- checks

    def _refusal(self, scope: Scope) -> Response | None:
        """Give the answer to a request that goes no further; None to one that does."""
        headers = Headers(scope=scope)
        hosts = headers.getlist("host")
        if len(hosts) != 1 or not self._is_ours(hosts[0]):
            return PlainTextResponse("refused: this page is not served under that name", 421)
        if not _is_same_origin(headers, hosts[0], scope):
            return PlainTextResponse(REFUSED, 403)
        if scope["method"] not in ("GET", "HEAD"):
            return PlainTextResponse("there is nothing to change here", 405, {"Allow": "GET, HEAD"})
        if len(scope["query_string"]) > MOST_QUERY_BYTES:
            return PlainTextResponse("that is too long", 414)
        if self._token is None or self._is_known(headers, scope):
            return None
        return self._welcome(scope)

    def _welcome(self, scope: Scope) -> Response:
        """Answer somebody who is not known: one who brings the token gets a cookie."""
        given = parse_qs(scope["query_string"].decode("latin-1")).get("token", [""])[0]
        assert self._token is not None
        if scope["path"] != "/" or not hmac.compare_digest(given.encode(), self._token.encode()):
            return PlainTextResponse("a token is needed: open the address that tcpsight printed when it began", 401)
        answer = RedirectResponse("/", 303)
        answer.set_cookie(_cookie_name(scope), self._secret, httponly=True, samesite="strict", path="/")
        return answer

    def _is_known(self, headers: Headers, scope: Scope) -> bool:
        cookies: SimpleCookie = SimpleCookie()
        try:
            cookies.load(headers.get("cookie", ""))
        except CookieError:
            return False
        cookie = cookies.get(_cookie_name(scope))
        return cookie is not None and hmac.compare_digest(cookie.value.encode(), self._secret.encode())

    def _is_ours(self, host: str) -> bool:
        """Tell whether a page may be asked for by this name: what is an address no name server can point here."""
        try:
            name = urlsplit(f"//{host}").hostname or ""
        except ValueError:
            return False
        if name in self._names:
            return True
        try:
            ipaddress.ip_address(name)
        except ValueError:
            return False
        return True


def _is_same_origin(headers: Headers, host: str, scope: Scope) -> bool:
    """Tell whether a request comes from the page itself, or from a person."""
    origin = headers.get("origin")
    if origin is not None:
        scheme, _, rest = origin.partition("://")
        if scheme not in ("http", "https") or rest.lower() != host.lower():
            return False
    if headers.get("sec-fetch-site", "none") in ("none", "same-origin"):
        return True
    # A link on another page that somebody follows shows the page, and tells the other page nothing.
    is_followed = headers.get("sec-fetch-mode") == "navigate" and headers.get("sec-fetch-dest") == "document"
    return is_followed and scope["path"] == "/"


def _cookie_name(scope: Scope) -> str:
    """Name the cookie: ports of one machine share theirs."""
    server = scope.get("server")
    return f"tcpsight_{server[1] if server else 0}"
