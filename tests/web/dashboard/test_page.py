"""The page at `/` in a real browser: what an operator does there."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from stores.usage import UsageFilter
from tests.conftest import MakeGateway
from tests.engine.test_builtin_tools import bash, script
from tests.support.browser import browser, serious_faults
from tests.support.harness import Gateway
from tests.support.wire import URL, asking
from web.dashboard import SECTIONS

OPERATOR = {"authorization": "Bearer sk-operator"}
XSS = "<img src=x onerror=\"document.title='owned'\"><script>document.title='owned'</script>"
STATIC = Path(__file__).parents[3] / "web/dashboard/static"

pytestmark = pytest.mark.timeout(120)


@pytest.fixture
async def operated(make_gateway: MakeGateway) -> AsyncIterator[Gateway]:
    async with make_gateway(api_key="sk-operator", max_processes=2, log_bodies=True) as gateway:
        yield gateway


async def signed_in(context: Any, gateway: Gateway, key: str = "sk-operator") -> Any:
    page = await context.new_page()
    await page.goto(f"{gateway.url}/")
    await page.fill("#key", key)
    await page.click("button[type=submit]")
    await page.wait_for_selector("main .tile")
    return page


async def look_at(page: Any, section: str) -> None:
    await page.evaluate("section => { location.hash = section }", section)
    await page.wait_for_selector(f"[data-view={section}] h1")


async def test_a_first_visit_asks_for_a_key_and_says_when_it_is_wrong(operated: Gateway) -> None:
    async with browser() as context:
        page = await context.new_page()
        await page.goto(f"{operated.url}/")
        await page.fill("#key", "sk-wrong")
        await page.click("button[type=submit]")
        await page.wait_for_selector("text=The API key is wrong.")
        assert await serious_faults(page) == []
        await page.fill("#key", "sk-operator")
        await page.keyboard.press("Enter")
        await page.wait_for_selector("main .tile")
        [cookie] = await context.cookies()
        assert (cookie["httpOnly"], cookie["sameSite"]) == (True, "Strict")
        assert "sk-operator" not in cookie["value"]
        await page.click("#sign-out")
        await page.wait_for_selector("#key")
        assert await context.cookies() == []


async def test_an_open_server_on_this_computer_asks_for_nothing(make_gateway: MakeGateway) -> None:
    async with make_gateway() as gateway, browser() as context:
        page = await context.new_page()
        await page.goto(f"{gateway.url}/")
        await page.wait_for_selector("main .tile")


async def test_a_chat_streams_in_the_playground_and_its_use_is_shown(operated: Gateway) -> None:
    async with browser() as context:
        page = await signed_in(context, operated)
        await look_at(page, "playground")
        await page.fill("#p-system", "Be brief.")
        await page.fill("#p-text", "!demo tokens=30 rate=40 thinking=hm")
        await page.click("text=Send")
        await page.wait_for_selector("text=word3")
        assert "word30" not in await page.inner_text("#log")  # it is still being written
        await page.wait_for_selector("text=tokens read")
        assert "word30" in await page.inner_text("#log")
        asked = operated.upstream.requests[-1]
        assert asked.system.endswith("Be brief.")
        await look_at(page, "usage")
        await page.wait_for_selector(".chart rect")
        [(_, total)] = await operated.app.state.gateway.usage.ledger.usage(UsageFilter())
        drawn = await page.locator(".chart rect title").first.text_content()
        assert drawn.endswith(f"${total.cost_usd:.5f}")


async def test_a_key_is_made_shown_once_used_and_revoked(operated: Gateway) -> None:
    async with browser() as context:
        page = await signed_in(context, operated)
        await look_at(page, "keys")
        await page.click("text=New key")
        await page.fill("#k-name", "alice")
        await page.fill("#k-tokens_per_day", "5")
        await page.click("text=Make key")
        secret = await page.inner_text("#new-key")
        headers = {"authorization": f"Bearer {secret}"}
        first = await operated.http.post(URL, json=asking("hi"), headers=headers)
        second = await operated.http.post(URL, json=asking("hi"), headers=headers)
        assert (first.status_code, second.status_code) == (200, 429)
        await page.reload()
        await page.wait_for_selector("text=alice")
        assert secret not in await page.content()
        await page.click("[aria-label='Revoke alice']")
        await page.click("text=Revoke for good")
        await page.wait_for_selector("text=alice is revoked")
        assert (await operated.http.get("/v1/models", headers=headers)).status_code == 401


async def test_requests_appear_as_they_end_with_their_bodies(operated: Gateway) -> None:
    async with browser() as context:
        page = await signed_in(context, operated)
        await look_at(page, "requests")
        await page.wait_for_selector("text=No request yet")
        await operated.http.post(URL, json=asking("a question"), headers=OPERATOR)
        await page.click("tbody tr button")
        await page.wait_for_selector("dialog >> text=a question")


async def test_a_key_that_is_no_operators_sees_its_own_usage_only(operated: Gateway) -> None:
    made = await operated.http.post("/v1/keys", json={"name": "alice"}, headers=OPERATOR)
    await operated.http.post(URL, json=asking("hi"), headers=OPERATOR)
    async with browser() as context:
        page = await signed_in(context, operated, made.json()["key"])
        assert await page.locator("[data-section=keys]").count() == 0
        await look_at(page, "usage")
        await page.wait_for_selector("text=0 requests")
        await look_at(page, "requests")
        await page.wait_for_selector("text=No request yet")


ASKING = "---\ndescription: Asks\nask: Bash\nworkspace: work\n---\n"


async def test_an_operator_answers_an_agents_questions(
    make_gateway: MakeGateway, tmp_path: Path
) -> None:
    (tmp_path / "agents").mkdir()
    agent = "---\ndescription: May ask\ntools: Read\nquestions: true\n---\n"
    (tmp_path / "agents" / "curious.md").write_text(agent)
    asked = [
        {
            "question": f"Which {name}?",
            "header": name,
            "multiSelect": name == "sizes",
            "options": [{"label": label, "description": XSS} for label in labels],
        }
        for name, labels in (("colour", ("Red", "Blue")), ("sizes", ("S", "M", "L")))
    ]
    settings: dict[str, Any] = {
        "agents_dir": tmp_path / "agents",
        "allowed_tools": ("Read",),
        "api_keys": "alice:sk-alice,default:sk-operator",
    }
    async with make_gateway(**settings) as gateway, browser() as context:
        page = await signed_in(context, gateway)
        await look_at(page, "approvals")
        body = asking(script(("AskUserQuestion", {"questions": asked})), model="curious")
        headers = {"authorization": "Bearer sk-alice"}
        answering = asyncio.create_task(gateway.http.post(URL, json=body, headers=headers))
        await page.get_by_text("Blue").check()
        await page.get_by_role("button", name="Answer").click()
        await page.wait_for_selector("text=A question has no answer yet.")
        await page.get_by_text("S ·").check()
        await page.get_by_label("Another answer to: Which sizes?").fill("XL")
        assert await serious_faults(page) == []
        await page.get_by_role("button", name="Answer").click()
        await page.wait_for_selector("text=No agent waits")
        assert (await answering).status_code == 200
        [result] = gateway.upstream.requests[-1].messages[-1]["content"]
        assert '"Which colour?"="Blue"' in str(result)
        assert '"Which sizes?"="S, XL"' in str(result)
        assert await page.title() != "owned"


@pytest.mark.parametrize("word", ["Approve", "Deny"])
async def test_an_operator_approves_or_denies_what_an_agent_asks_for(
    make_gateway: MakeGateway, tmp_path: Path, word: str
) -> None:
    (tmp_path / "agents").mkdir()
    (tmp_path / "agents" / "asking.md").write_text(ASKING)
    work = tmp_path / "workspaces" / "work"
    work.mkdir(parents=True)
    command = bash(f"echo '{XSS}' > made.txt")
    asked = asking(script(command), model="asking")
    settings: dict[str, Any] = {
        "agents_dir": tmp_path / "agents",
        "workspace_root": tmp_path / "workspaces",
        "allowed_tools": ("Bash",),
        "api_keys": "alice:sk-alice,default:sk-operator",
    }
    async with make_gateway(**settings) as gateway, browser() as context:
        page = await signed_in(context, gateway)
        await look_at(page, "approvals")
        await page.wait_for_selector("text=No agent waits")
        headers = {"authorization": "Bearer sk-alice"}
        turn = asyncio.create_task(gateway.http.post(URL, json=asked, headers=headers))
        await page.wait_for_selector("pre >> text=made.txt")
        assert await serious_faults(page) == []
        assert not (work / "made.txt").exists()
        await page.get_by_label("Reason to deny Bash").fill("Use another name")
        await page.focus(f"text={word}")
        await page.keyboard.press("Enter")
        await page.wait_for_selector("text=No agent waits")
        assert (await turn).status_code == 200
        assert (work / "made.txt").exists() == (word == "Approve")
        told = str(gateway.upstream.requests[-1].messages[-1])
        assert ("The person says: Use another name" in told) == (word == "Deny")
        assert await page.title() != "owned"


async def test_stored_responses_are_read_and_deleted(operated: Gateway) -> None:
    body = {"model": "sonnet", "input": f"!demo text={json.dumps(XSS)}"}
    made = await operated.http.post("/v1/responses", json=body, headers=OPERATOR)
    id_ = made.json()["id"]
    async with browser() as context:
        page = await signed_in(context, operated)
        await look_at(page, "sessions")
        await page.click(f"text={id_}")
        await page.wait_for_selector("dialog >> text=onerror")
        assert await serious_faults(page) == []
        await page.click("dialog >> text=Close")
        await page.click(f"[aria-label='Delete {id_}']")
        await page.click("text=Delete for good")
        await page.wait_for_selector("text=None. POST /v1/responses")
        assert await page.title() != "owned"
    gone = await operated.http.get(f"/v1/responses/{id_}", headers=OPERATOR)
    assert gone.status_code == 404


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 390])
async def test_every_section_is_accessible_and_fits(
    operated: Gateway, theme: Any, width: int
) -> None:
    await operated.http.post("/v1/keys", json={"name": "alice", "usd_per_day": 5}, headers=OPERATOR)
    await operated.http.post(URL, json=asking("hi", session_id="s"), headers=OPERATOR)
    await operated.http.post(URL, json=asking("!demo error=400 message=no"), headers=OPERATOR)
    async with browser(width, color_scheme=theme) as context:
        page = await signed_in(context, operated)
        for section in SECTIONS:
            await look_at(page, section)
            await page.wait_for_load_state("networkidle") if section != "requests" else None
            assert await serious_faults(page) == [], section
            sides = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
            assert await page.evaluate(sides) == 0, section


@pytest.mark.parametrize("width", [1000, 1280, 1600])
async def test_every_section_can_be_seen_in_the_bar(operated: Gateway, width: int) -> None:
    async with browser(width) as context:
        page = await signed_in(context, operated)
        nav = page.locator(".bar nav")
        assert await nav.evaluate("nav => nav.scrollWidth - nav.clientWidth") == 0


async def test_the_usual_limits_leave_room_for_the_page(make_gateway: MakeGateway) -> None:
    async with (
        make_gateway(api_key="sk-operator", rate_limit_enabled=True) as gateway,
        browser() as context,
    ):
        page = await signed_in(context, gateway)
        refused: list[str] = []
        page.on("response", lambda one: refused.append(one.url) if one.status == 429 else None)
        for _ in range(2):
            await page.reload()
            await page.wait_for_selector("main h1")
            for section in SECTIONS:
                await look_at(page, section)
    assert refused == []


async def test_the_keyboard_reaches_content_first(operated: Gateway) -> None:
    async with browser() as context:
        page = await signed_in(context, operated)
        await page.reload()
        await page.wait_for_selector("main .tile")
        await page.keyboard.press("Tab")
        assert await page.evaluate("document.activeElement.textContent") == "Skip to content"


async def test_the_api_reference_needs_no_other_host(operated: Gateway) -> None:
    async with browser() as context:
        page = await context.new_page()
        await page.goto(f"{operated.url}/docs")
        await page.click("text=Authorize")
        await page.wait_for_selector("text=An API key of this server")


async def test_no_text_becomes_part_of_the_page(operated: Gateway) -> None:
    """What a model says, a client calls a model, and a session holds."""
    said = f"!demo text={json.dumps(XSS)}"
    await operated.http.post(URL, json=asking(said, session_id="s"), headers=OPERATOR)
    await operated.http.post(URL, json=asking("hi", model=XSS), headers=OPERATOR)
    async with browser() as context:
        page = await signed_in(context, operated)
        await look_at(page, "playground")
        await page.fill("#p-text", said)
        await page.click("text=Send")
        await page.wait_for_selector("text=tokens read")
        await look_at(page, "requests")
        await page.wait_for_selector("tbody tr >> nth=2")
        await page.click("tbody tr button >> nth=1")
        await look_at(page, "sessions")
        await page.evaluate("document.querySelector('dialog')?.close()")
        await page.click("tbody tr button >> nth=0")
        await page.wait_for_selector("dialog >> text=onerror")
        assert await page.title() != "owned"
        assert await page.locator("img[src=x]").count() == 0


def test_no_script_of_the_page_makes_html_out_of_text() -> None:
    for path in STATIC.glob("*.js"):
        text = path.read_text()
        for danger in ("innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval("):
            assert danger not in text, path.name
