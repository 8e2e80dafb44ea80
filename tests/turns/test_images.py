"""Images behind URLs: fetched over real sockets, and never from where a caller may not reach."""

from __future__ import annotations

import asyncio
import base64
import datetime
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from core.errors import GatewayError
from dialects.attachments import IMAGE_MAX_BYTES
from dialects.chat import DIALECT
from models import ChatRequest
from tests.conftest import MakeGateway
from tests.support.harness import Gateway, png, said
from turns.images import MAX_URLS, ImageFetcher, fetch_images, is_public
from turns.resolver import Resolver

WHERE = "messages[0].content[0].image_url"
PICTURE = base64.b64decode(png())
NAME = "pictures.test"


@dataclass(slots=True)
class PictureServer:
    """Answers each path with raw bytes; keeps the heads of the requests it got."""

    port: int = 0
    answers: dict[str, bytes] = field(default_factory=dict)
    heads: list[str] = field(default_factory=list)
    connections: int = 0

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
            self.heads.append(head)
            path = head.split(" ")[1]
            if path == "/silent":
                await reader.read()  # until the client leaves
            writer.write(self.answers.get(path, answered(b"", "404 Not Found")))
            await writer.drain()
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    def url(self, path: str = "/a.png", host: str = NAME) -> str:
        return f"https://{host}:{self.port}{path}"


def answered(body: bytes, status: str = "200 OK", **headers: str) -> bytes:
    lines = [f"HTTP/1.1 {status}", "connection: close"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def redirected(to: str) -> bytes:
    return answered(b"", "302 Found", location=to)


@pytest.fixture(scope="session")
def authority(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A self-signed certificate of `pictures.test` and its key, for an hour."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, NAME)])
    now = datetime.datetime.now(datetime.UTC)
    hour = datetime.timedelta(hours=1)
    builder = x509.CertificateBuilder().subject_name(name).issuer_name(name)
    builder = builder.public_key(key.public_key()).serial_number(1)
    builder = builder.not_valid_before(now - hour).not_valid_after(now + hour)
    names = x509.SubjectAlternativeName([x509.DNSName(NAME)])
    certificate = builder.add_extension(names, critical=False).sign(key, hashes.SHA256())
    folder = tmp_path_factory.mktemp("tls")
    pem = serialization.Encoding.PEM
    (folder / "cert.pem").write_bytes(certificate.public_bytes(pem))
    form, plain = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    (folder / "key.pem").write_bytes(key.private_bytes(pem, form, plain))
    return folder / "cert.pem", folder / "key.pem"


@asynccontextmanager
async def serving(context: ssl.SSLContext | None) -> AsyncIterator[PictureServer]:
    pictures = PictureServer()
    server = await asyncio.start_server(pictures.answer, "127.0.0.1", 0, ssl=context)
    async with server:
        pictures.port = server.sockets[0].getsockname()[1]
        pictures.answers["/a.png"] = answered(PICTURE, content_type="text/html")
        yield pictures


@pytest.fixture
async def pictures(authority: tuple[Path, Path]) -> AsyncIterator[PictureServer]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*authority)
    async with serving(context) as server:
        yield server


def resolving(**hosts: list[str]) -> Callable[[str, int, str], Awaitable[list[str]]]:
    async def fake_dns(host: str, port: int, principal: str) -> list[str]:
        return hosts[host.replace(".", "_")]

    return fake_dns


@pytest.fixture
def fetcher(authority: tuple[Path, Path]) -> ImageFetcher:
    """One that may go to loopback, and knows `pictures.test` as that."""
    return ImageFetcher(
        allowed=lambda address: address.is_loopback,
        resolve=resolving(pictures_test=["127.0.0.1"], inside_test=["10.0.0.7"]),
        ssl_context=ssl.create_default_context(cafile=authority[0]),
    )


async def refusal(fetcher: ImageFetcher, url: str) -> GatewayError:
    with pytest.raises(GatewayError) as caught:
        await fetcher.fetch(url, WHERE)
    assert caught.value.param == WHERE
    return caught.value


async def test_an_image_is_fetched_by_name_from_the_checked_address(
    pictures: PictureServer, fetcher: ImageFetcher
) -> None:
    assert await fetcher.fetch(pictures.url(), WHERE) == PICTURE
    [head] = pictures.heads
    assert f"host: {NAME}:{pictures.port}" in head.lower()
    assert "cookie" not in head.lower()
    assert "authorization" not in head.lower()


async def test_a_certificate_of_another_name_is_refused(
    pictures: PictureServer, authority: tuple[Path, Path]
) -> None:
    fetcher = ImageFetcher(
        allowed=lambda address: True,
        resolve=resolving(other_test=["127.0.0.1"]),
        ssl_context=ssl.create_default_context(cafile=authority[0]),
    )
    error = await refusal(fetcher, pictures.url(host="other.test"))
    assert error.message == "The image could not be fetched."
    assert pictures.heads == []


async def test_redirects_are_followed_three_times(
    pictures: PictureServer, fetcher: ImageFetcher
) -> None:
    for step in range(4):
        pictures.answers[f"/{step}"] = redirected(f"/{step + 1}")
    pictures.answers["/4"] = pictures.answers["/a.png"]
    assert await fetcher.fetch(pictures.url("/1"), WHERE) == PICTURE
    error = await refusal(fetcher, pictures.url("/0"))
    assert "redirects more than 3 times" in error.message


@pytest.mark.parametrize(
    "to",
    ["https://inside.test/a.png", "http://pictures.test/a.png", "file:///etc/passwd", "//u:p@h/"],
)
async def test_a_redirect_is_checked_like_the_first_url(
    pictures: PictureServer, fetcher: ImageFetcher, to: str
) -> None:
    pictures.answers["/moved"] = redirected(to)
    error = await refusal(fetcher, pictures.url("/moved"))
    assert error.code == "invalid_image_url"
    assert pictures.connections == 1


@pytest.mark.parametrize(
    ("path", "status", "code"),
    [
        ("/large", 413, "request_too_large"),
        ("/page", 400, "invalid_image"),
        ("/zipped", 400, "invalid_image_url"),
        ("/missing", 400, "invalid_image_url"),
        ("/broken", 400, "invalid_image_url"),
    ],
)
async def test_what_is_no_image_of_a_fair_size_is_refused(
    pictures: PictureServer, fetcher: ImageFetcher, path: str, status: int, code: str
) -> None:
    pictures.answers |= {
        "/large": answered(PICTURE + bytes(IMAGE_MAX_BYTES)),
        "/page": answered(b"<html>", content_type="image/png"),
        "/zipped": answered(PICTURE, content_encoding="gzip"),
        "/broken": answered(PICTURE, content_length="100000"),
    }
    error = await refusal(fetcher, pictures.url(path))
    assert (error.status, error.code) == (status, code)


async def test_a_server_that_says_nothing_is_given_up(
    pictures: PictureServer, authority: tuple[Path, Path]
) -> None:
    fetcher = ImageFetcher(
        allowed=lambda address: True,
        resolve=resolving(pictures_test=["127.0.0.1"]),
        ssl_context=ssl.create_default_context(cafile=authority[0]),
        seconds=0.2,
    )
    error = await refusal(fetcher, pictures.url("/silent"))
    assert error.code == "invalid_image_url"


INSIDE = [
    "127.0.0.1",
    "127.9.9.9",
    "10.0.0.1",
    "172.16.0.1",
    "192.168.1.1",
    "169.254.169.254",
    "100.64.0.1",
    "100.100.100.200",
    "192.0.0.192",
    "168.63.129.16",
    "0.0.0.0",
    "224.0.0.1",
    "239.1.1.1",
    "240.0.0.1",
    "255.255.255.255",
    "198.18.0.1",
    "::1",
    "::",
    "::ffff:127.0.0.1",
    "::ffff:10.0.0.1",
    "::ffff:169.254.169.254",
    "::7f00:1",
    "64:ff9b::7f00:1",
    "64:ff9b::a00:1",
    "2002:7f00:1::",
    "2001:0:0:0:0:0:80ff:fffe",
    "fd00:ec2::254",
    "fe80::1",
    "fec0::1",
    "ff02::1",
    "2001:db8::1",
]
OUTSIDE = ["93.184.215.14", "8.8.8.8", "2606:4700::1111", "::ffff:8.8.8.8", "64:ff9b::808:808"]


@pytest.mark.parametrize("address", INSIDE)
def test_an_inner_address_is_not_public(address: str) -> None:
    assert not is_public(ip_address(address))


@pytest.mark.parametrize("address", OUTSIDE)
def test_an_outer_address_is_public(address: str) -> None:
    assert is_public(ip_address(address))


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1",
        "localhost",
        "127.1",
        "2130706433",
        "0x7f000001",
        "169.254.169.254",
        "10.1.2.3",
        "[::1]",
        "[::ffff:127.0.0.1]",
        "0.0.0.0",
    ],
)
async def test_by_default_no_name_of_this_machine_is_asked(host: str) -> None:
    """Names and forms of addresses as the system itself resolves them; nothing is sent."""
    async with serving(None) as server:
        await refusal(ImageFetcher(), f"https://{host}:{server.port}/a.png")
        assert server.connections == 0


async def test_one_inner_address_among_outer_ones_is_enough_to_refuse() -> None:
    fetcher = ImageFetcher(resolve=resolving(mixed_test=["8.8.8.8", "10.0.0.1"]))
    error = await refusal(fetcher, "https://mixed.test/a.png")
    assert "public address" in error.message


async def test_a_redirect_to_this_machine_is_refused_by_default(
    pictures: PictureServer, authority: tuple[Path, Path]
) -> None:
    """Only the first address is let through, as if it were a public server's."""
    judged = []

    def allowed(address: Any) -> bool:
        judged.append(address)
        return len(judged) == 1 or is_public(address)

    fetcher = ImageFetcher(
        allowed=allowed,
        resolve=resolving(pictures_test=["127.0.0.1"], localhost=["::ffff:127.0.0.1"]),
        ssl_context=ssl.create_default_context(cafile=authority[0]),
    )
    pictures.answers["/moved"] = redirected(pictures.url(host="localhost"))
    error = await refusal(fetcher, pictures.url("/moved"))
    assert "public address" in error.message
    expected = [ip_address("127.0.0.1"), ip_address("::ffff:127.0.0.1")]
    assert (judged, pictures.connections) == (expected, 1)


async def test_a_name_that_changes_its_address_gains_nothing(
    pictures: PictureServer, authority: tuple[Path, Path]
) -> None:
    """DNS rebinding: the name is asked once a hop, and what was checked is what is connected to."""
    answers = iter([["127.0.0.1"], ["10.0.0.1"]])
    asked = []

    async def rebinding(host: str, port: int, principal: str) -> list[str]:
        asked.append(host)
        return next(answers)

    fetcher = ImageFetcher(
        allowed=lambda address: address.is_loopback,  # what counts as public in this test
        resolve=rebinding,
        ssl_context=ssl.create_default_context(cafile=authority[0]),
    )
    assert await fetcher.fetch(pictures.url(), WHERE) == PICTURE
    assert asked == [NAME]
    await refusal(fetcher, pictures.url())
    assert pictures.connections == 1


async def test_the_system_resolves_names_and_literals() -> None:
    assert "127.0.0.1" in await Resolver()("127.0.0.1", 443)
    with pytest.raises(OSError, match=r".") as caught:
        await Resolver()("no-such-name.invalid", 443)
    assert isinstance(caught.value, socket.gaierror)


@pytest.mark.parametrize(
    "url",
    [
        "http://93.184.215.14/a.png",
        "https://",
        "https://u:p@h.test/",
        "https://h.test:x/",
        "ftp://a",
        "x",
    ],
)
async def test_urls_of_other_forms_are_refused_unasked(url: str) -> None:
    await refusal(ImageFetcher(resolve=resolving()), url)


async def test_a_server_without_image_urls_asks_nothing() -> None:
    error = await refusal(ImageFetcher(enabled=False), "https://93.184.215.14/a.png")
    assert "data URL" in error.message


def request_with(*urls: str) -> ChatRequest:
    parts = [{"type": "image_url", "image_url": {"url": url}} for url in urls]
    return ChatRequest.model_validate({"messages": [{"role": "user", "content": parts}]})


async def test_more_urls_than_the_limit_are_refused_before_the_first_fetch() -> None:
    request = request_with(*["https://a.test/a.png"] * (MAX_URLS + 1))
    with pytest.raises(GatewayError) as caught:
        await fetch_images(DIALECT.images(request), ImageFetcher(resolve=resolving()))
    assert caught.value.param == f"messages[0].content[{MAX_URLS}].image_url"


async def test_data_urls_are_left_as_they_are() -> None:
    request = request_with(f"data:image/png;base64,{png()}")
    before = request.model_dump()
    await fetch_images(DIALECT.images(request), ImageFetcher(enabled=False))
    assert request.model_dump() == before


async def test_fetched_images_reach_the_model_from_every_form_of_part(
    gateway: Gateway, pictures: PictureServer, fetcher: ImageFetcher
) -> None:
    state = gateway.app.state.gateway
    gateway.app.state.gateway = replace(state, images=fetcher)
    url = pictures.url()
    inner = {"type": "image", "source": {"type": "url", "url": url}}
    call = {"type": "tool_use", "id": "t1", "name": "f", "input": {}}
    parts: list[dict[str, Any]] = [
        {"type": "tool_result", "tool_use_id": "t1", "content": [inner.copy()]},
        {"type": "image_url", "image_url": {"url": url, "detail": "auto"}},
        {"type": "image_url", "image_url": url},
        inner,
    ]
    messages = [
        {"role": "user", "content": "x"},
        {"role": "assistant", "content": [call]},
        {"role": "user", "content": parts},
    ]
    try:
        body = {"model": "claude-sonnet-5", "messages": messages}
        answer = await gateway.http.post("/v1/chat/completions", json=body)
    finally:
        gateway.app.state.gateway = state
    assert answer.status_code == 200, answer.text
    source = {"type": "base64", "media_type": "image/png", "data": png()}
    image = {"type": "image", "source": source}
    received = said(gateway.upstream.requests[-1].messages[-1])[1]
    assert received[0]["content"] == [image]
    assert received[1:] == [image, image, image]


@pytest.mark.parametrize("image_urls", [True, False])
async def test_a_refused_url_is_a_400_that_names_the_part(
    make_gateway: MakeGateway, image_urls: bool
) -> None:
    async with make_gateway(image_urls=image_urls) as gateway:
        parts = [
            {"type": "text", "text": "x"},
            {"type": "image_url", "image_url": "https://[::1]/"},
        ]
        body = {"model": "claude-sonnet-5", "messages": [{"role": "user", "content": parts}]}
        answer = await gateway.http.post("/v1/chat/completions", json=body)
        assert not gateway.upstream.requests
    error = answer.json()["error"]
    assert (answer.status_code, error["code"]) == (400, "invalid_image_url")
    assert error["param"] == "messages[0].content[1].image_url"
