"""Images behind `https` URLs, fetched before a dialect reads them, and never from inside.

Any client may send a URL, so it must not become a way into the network
around it (server-side request forgery). The name is resolved here, every address that it has must
be public, and the connection goes to the very address that was checked: a second answer of the
DNS changes nothing. Each redirect is checked like the first URL. No proxy is used, for it would
resolve names itself.
"""

from __future__ import annotations

import asyncio
import base64
import ssl
from collections.abc import Awaitable, Callable, Sequence
from functools import cached_property
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from typing import TYPE_CHECKING, Any, TypeAlias

from core.errors import GatewayError, InvalidRequest
from dialects.attachments import (
    IMAGE_MAX_BYTES,
    image_too_large,
    sniffed_image,
    unknown_image,
)
from dialects.base import ImageUrl
from turns.resolver import Resolver

if TYPE_CHECKING:  # several MB with what it brings, for requests that few clients send
    import httpx

Address: TypeAlias = IPv4Address | IPv6Address
Resolve: TypeAlias = Callable[[str, int, str], Awaitable[list[str]]]
"""The addresses of a host and port, for a principal. Raises OSError."""


FETCH_SECONDS = 10.0
MAX_REDIRECTS = 3
MAX_URLS = 20
MAX_URL_CHARACTERS = 8192
AT_ONCE = 4
HEADERS = {
    "accept": "image/png, image/jpeg, image/gif, image/webp",
    "accept-encoding": "identity",  # what is counted is what is kept: no decompression bombs
    "user-agent": "claude-code-openai-server",
}
DOT = b"GIF89a\1\0\1\0\0\0\0;"
REDIRECTS = frozenset({301, 302, 303, 307, 308})
NOT_PUBLIC = tuple(
    ip_network(network)
    for network in (
        "168.63.129.16/32",  # Azure's metadata and host service, on a public address
        "192.88.99.0/24",  # 6to4 relays
        "192.0.0.0/24",  # protocol assignments; Oracle's metadata among them
        "2001::/23",  # protocol assignments, Teredo among them
        "2002::/16",  # 6to4: holds an IPv4 address
        "3fff::/20",  # documentation
    )
)
NAT64 = ip_network("64:ff9b::/96")


def is_public(address: Address) -> bool:
    """Whether an address belongs to the public internet: not private, loopback, link-local, shared,
    multicast, reserved, unspecified or a cloud's metadata; an IPv4 address inside an IPv6 one is
    judged itself."""
    if isinstance(address, IPv6Address):
        if address.ipv4_mapped is not None:
            return is_public(address.ipv4_mapped)
        if address in NAT64:
            return is_public(IPv4Address(int(address) & 0xFFFFFFFF))
        if address.is_site_local or address not in ip_network("2000::/3"):
            return False
    special = address.is_multicast or address.is_reserved or address.is_unspecified
    return address.is_global and not special and not any(address in net for net in NOT_PUBLIC)


class ImageFetcher:
    """Fetches images. The arguments are for tests: by default only `https` and public addresses.

    `enabled` false refuses every URL that is not a data URL. Holds nothing between two fetches, so
    that no cookie and no connection of one caller serves another.
    """

    def __init__(
        self,
        *,
        enabled: bool = True,
        allowed: Callable[[Address], bool] = is_public,
        resolve: Resolve | None = None,
        schemes: frozenset[str] = frozenset({"https"}),
        ssl_context: ssl.SSLContext | None = None,
        seconds: float = FETCH_SECONDS,
    ) -> None:
        self._enabled = enabled
        self._allowed = allowed
        self._resolve = resolve or Resolver()
        self._schemes = schemes
        self._given_context = ssl_context
        self._seconds = seconds

    @cached_property
    def _ssl_context(self) -> ssl.SSLContext:
        import httpx

        return self._given_context or httpx.create_ssl_context()

    def accepted(self, url: str, where: str) -> httpx.URL:
        """The URL, if its form alone allows a fetch. Raises InvalidRequest."""
        import httpx

        if not self._enabled:
            raise _refused("Fetching images is disabled on this server: send a data URL.", where)
        if len(url) > MAX_URL_CHARACTERS:
            raise _refused("The image's URL is too long.", where)
        try:
            parsed = httpx.URL(url)
        except (httpx.InvalidURL, ValueError):
            raise _refused("The image's URL is not valid.", where) from None
        if parsed.scheme not in self._schemes:
            raise _refused("Images are fetched from `https` URLs only.", where)
        if not parsed.host or parsed.userinfo:
            raise _refused("The image's URL needs a host, and no credentials.", where)
        return parsed

    async def fetch(self, url: str, where: str, principal: str = "") -> bytes:
        """The bytes of a PNG, JPEG, GIF or WebP of at most IMAGE_MAX_BYTES.

        Raises InvalidRequest or RequestTooLarge, both naming `where`.
        """
        import httpx

        try:
            async with asyncio.timeout(self._seconds):
                data = await self._follow(self.accepted(url, where), where, principal)
        except TimeoutError:
            message = f"Fetching the image timed out after {self._seconds:g} s."
            raise _refused(message, where) from None
        except (httpx.HTTPError, httpx.InvalidURL, OSError, ValueError):
            raise _refused("The image could not be fetched.", where) from None
        if sniffed_image(data) is None:
            raise unknown_image(where)
        return data

    async def _follow(self, url: httpx.URL, where: str, principal: str) -> bytes:
        for _ in range(MAX_REDIRECTS + 1):
            address = await self._checked_address(url, where, principal)
            found = await self._get(url, address, where)
            if isinstance(found, bytes):
                return found
            url = self.accepted(str(url.join(found)), where)
        raise _refused(f"The image's URL redirects more than {MAX_REDIRECTS} times.", where)

    async def _checked_address(self, url: httpx.URL, where: str, principal: str) -> str:
        """One address of the host; refused where any of them is not allowed."""
        port = url.port or (443 if url.scheme == "https" else 80)
        host = url.raw_host.decode("ascii").strip("[]")
        addresses = await self._resolve(host, port, principal)
        if not addresses or not all(self._allowed(ip_address(one)) for one in addresses):
            raise _refused("The image host resolves to a non-public address.", where)
        return addresses[0]

    async def _get(self, url: httpx.URL, address: str, where: str) -> bytes | str:
        """The body, or where it redirects to. The host's name stays in `Host` and in TLS."""
        import httpx

        name = url.raw_host.decode("ascii").strip("[]")
        request = httpx.Request(
            "GET",
            url.copy_with(host=address, fragment=None),
            headers={**HEADERS, "host": url.netloc.decode("ascii")},
            extensions={"sni_hostname": name, "timeout": httpx.Timeout(self._seconds).as_dict()},
        )
        transport = httpx.AsyncHTTPTransport(verify=self._ssl_context, trust_env=False)
        async with transport:
            response = await transport.handle_async_request(request)
            try:
                if response.status_code in REDIRECTS and "location" in response.headers:
                    return response.headers["location"]
                return await _body(response, where)
            finally:
                await response.aclose()


async def _body(response: httpx.Response, where: str) -> bytes:
    if response.status_code != 200:
        message = f"The image could not be fetched: status {response.status_code}."
        raise _refused(message, where)
    if response.headers.get("content-encoding", "identity") != "identity":
        raise _refused("Unexpected Content-Encoding in the image response.", where)
    data = bytearray()
    async for chunk in response.aiter_raw():
        data += chunk
        if len(data) > IMAGE_MAX_BYTES:
            raise image_too_large(where)
    return bytes(data)


async def fetch_images(
    images: Sequence[ImageUrl], fetcher: ImageFetcher, principal: str = ""
) -> None:
    """Replaces every image URL of a request by a data URL, in place.

    At most MAX_URLS a request, AT_ONCE at the same time. Raises InvalidRequest or RequestTooLarge,
    naming the part.
    """
    _check_count(images)
    if not images:
        return
    slots = asyncio.Semaphore(AT_ONCE)

    async def fetch(image: ImageUrl) -> None:
        async with slots:
            _put(image, await fetcher.fetch(image.url, image.where, principal))

    failure: GatewayError | None = None
    try:
        async with asyncio.TaskGroup() as tasks:
            for image in images:
                tasks.create_task(fetch(image))
    except* GatewayError as failed:
        failure = _first(failed)
    if failure is not None:  # Python 3.11.2 wraps what is raised within `except*` in a group
        raise failure


def _first(group: BaseExceptionGroup[GatewayError]) -> GatewayError:
    error: Any = group
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    assert isinstance(error, GatewayError)
    return error


def put_placeholders(images: Sequence[ImageUrl], fetcher: ImageFetcher) -> int:
    """Puts a dot in the place of every image that would be fetched, in place, and counts them.
    Makes no request; raises InvalidRequest where the form of a URL gives reason for it."""
    _check_count(images)
    for image in images:
        fetcher.accepted(image.url, image.where)
        _put(image, DOT)
    return len(images)


def _check_count(images: Sequence[ImageUrl]) -> None:
    if len(images) > MAX_URLS:
        message = f"At most {MAX_URLS} images are fetched for one request."
        raise _refused(message, images[MAX_URLS].where)


def _put(image: ImageUrl, data: bytes) -> None:
    """Replaces the URL by the image itself."""
    image.holder[image.key] = f"data:image/*;base64,{base64.b64encode(data).decode()}"


def _refused(message: str, where: str) -> InvalidRequest:
    return InvalidRequest(message, param=where, code="invalid_image_url")
