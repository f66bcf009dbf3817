"""One HTTP request without redirects: the only place that touches the network, and that tests can replace."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from modelzoo.store.policy import Policy
from modelzoo.store.retries import TransferFailed

_CHUNK = 1 << 20
_PROXY_HINT = "check HTTP_PROXY, HTTPS_PROXY and NO_PROXY"


class Reply(Protocol):
    """An answer whose body has not been read yet.

    Attributes:
        status: the HTTP status.
        headers: with names in lower case.
    """

    @property
    def status(self) -> int: ...
    @property
    def headers(self) -> Mapping[str, str]: ...

    def read(self) -> bytes | memoryview:
        """Some of the body as it was sent, without any decoding but of chunks; nothing at its end.

        A memoryview holds until the next call only.

        Raises:
            TransferFailed: it was cut, or stalled.
        """

    def close(self) -> None: ...


class Transport(Protocol):
    """What the store needs of the network."""

    def get(self, url: str, headers: Mapping[str, str]) -> Reply:
        """Sends a GET and waits for the answer's headers.

        Raises:
            TransferFailed: there was no answer.
        """


class RequestsTransport:
    """`Transport` over requests: proxies and CA bundles as its environment variables say; no netrc, no cookies."""

    def __init__(self, policy: Policy) -> None:
        self._policy = policy

    def get(self, url: str, headers: Mapping[str, str]) -> Reply:
        import http.cookiejar

        import requests

        session = requests.Session()  # one for each request: nothing is shared between threads or after a fork
        session.get_redirect_target = lambda resp: None  # type: ignore[method-assign]  # we judge them
        session.cookies.set_policy(http.cookiejar.DefaultCookiePolicy(allowed_domains=[]))
        try:
            response = session.get(
                url,
                headers={**headers, "Accept": "*/*"},
                auth=_as_it_is,
                stream=True,
                allow_redirects=False,
                verify=_authorities(),
                timeout=(self._policy.connect_timeout, self._policy.read_timeout),
            )
        except (requests.RequestException, OSError, ValueError) as error:
            session.close()
            raise _no_answer(error, url, self._policy) from error
        return _Answer(session, response, self._policy)


def _authorities() -> bool | str:
    """SSL_CERT_FILE, which OpenSSL itself heeds, where requests' own variables (`True`: it looks) do not say more."""
    import os

    own = ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")
    return True if any(os.environ.get(name) for name in own) else os.environ.get("SSL_CERT_FILE") or True


def _as_it_is(request: Any) -> Any:
    """As `auth` it keeps requests from looking into netrc files, which may have a default for every host."""
    return request


class _Answer:
    def __init__(self, session: Any, response: Any, policy: Policy) -> None:
        self.status: int = response.status_code
        self.headers: Mapping[str, str] = {name.lower(): value for name, value in response.headers.items()}
        self._session = session
        self._response = response
        self._policy = policy
        self._read1 = getattr(response.raw, "read1", None)  # urllib3 2.1 and later
        self._stream, self._left = _bare_stream(response)
        self._buffer = memoryview(bytearray(_CHUNK if self._stream is not None else 0))

    def read(self) -> bytes | memoryview:
        import http.client

        import urllib3.exceptions

        try:
            if self._stream is not None:
                count = self._stream.readinto1(self._buffer[: self._left])
                self._left -= count
                return self._buffer[:count]
            if self._read1 is not None:
                return self._read1(_CHUNK, decode_content=False) or b""
            return self._response.raw.read(1 << 14, decode_content=False) or b""
        except (urllib3.exceptions.HTTPError, http.client.HTTPException, OSError, ValueError) as error:
            if isinstance(error, urllib3.exceptions.ReadTimeoutError | TimeoutError):
                cause = f"no byte came for {self._policy.read_timeout:g} s"
            elif "IncompleteRead" in repr(error):
                cause = "the connection was cut before the end"
            else:
                cause = f"the connection broke: {_innermost(error)}"
            raise TransferFailed(cause, again=True) from error

    def close(self) -> None:
        self._response.close()
        self._session.close()


def _bare_stream(response: Any) -> tuple[Any, int]:
    """The buffered socket below a body of stated length, and that length: one buffer for all that comes costs a third
    less than memory for each piece. None for chunks, and where requests is built otherwise.
    """
    answer = getattr(response.raw, "_fp", None)
    stream, length = getattr(answer, "fp", None), getattr(answer, "length", None)
    chunked = getattr(answer, "chunked", True)
    if chunked is not False or not isinstance(length, int) or not hasattr(stream, "readinto1"):
        return None, 0
    return stream, length


def _no_answer(error: Exception, url: str, policy: Policy) -> TransferFailed:
    """What `requests` met, as a phrase, with what to do about it where that is known."""
    import requests

    text = repr(error)
    inner = _innermost(error)
    if isinstance(error, requests.exceptions.ProxyError):
        again = "407" not in text
        return TransferFailed(f"the proxy refused: {inner}", again=again, hint=_PROXY_HINT)
    if isinstance(error, requests.exceptions.SSLError):
        hint = (
            "check the clock; if your network has a certificate authority of its own: REQUESTS_CA_BUNDLE, SSL_CERT_FILE"
        )
        if "CERTIFICATE_VERIFY_FAILED" in text or "doesn't match" in text:
            return TransferFailed(f"its certificate is not accepted: {inner}", again=False, hint=hint)
        return TransferFailed(f"no secure connection: {inner}", again=True, hint=hint)
    if isinstance(error, requests.exceptions.ConnectTimeout):
        return TransferFailed(f"no connection within {policy.connect_timeout:g} s", again=True, hint=_PROXY_HINT)
    if isinstance(error, requests.exceptions.Timeout):
        return TransferFailed(f"no answer within {policy.read_timeout:g} s", again=True)
    if isinstance(error, requests.exceptions.ConnectionError):
        if "NameResolution" in text or "getaddrinfo" in text:
            return TransferFailed("the name of the server is not known", again=True, hint="is the network up?")
        if "refused" in text:
            return TransferFailed("the server refuses connections", again=True)
        return TransferFailed(f"the connection broke: {inner}", again=True)
    if isinstance(error, requests.exceptions.InvalidHeader | requests.exceptions.RequestException):
        return TransferFailed(f"it cannot be asked for: {inner}", again=False)
    # requests reports a wrong path of a CA bundle as a bare OSError
    return TransferFailed(f"it cannot be asked for: {inner}", again=False, hint="check REQUESTS_CA_BUNDLE")


def _innermost(error: BaseException) -> str:
    """The reason at the bottom of a chain, without the addresses of objects."""
    seen: set[int] = set()
    while id(error) not in seen:
        seen.add(id(error))
        deeper = getattr(error, "reason", None)
        if not isinstance(deeper, BaseException):
            deeper = next((arg for arg in reversed(error.args) if isinstance(arg, BaseException)), None)
        if deeper is None:
            break
        error = deeper
    reason = getattr(error, "strerror", None)
    return f"{type(error).__name__}: {reason}" if reason else _short(error)


def _short(error: BaseException) -> str:
    text = " ".join(str(error).split())
    if " object at 0x" in text:
        text = text.rpartition(": ")[2]
    return f"{type(error).__name__}: {text}"[:200]
