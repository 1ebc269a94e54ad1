"""The page as people use it."""

import re
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from playwright.sync_api import BrowserContext, Page, expect
from websockets.sync.client import connect

from frameproto import Request, RequestKind, encode_request
from tests.browser.conftest import REPLY, Serve, Server, expect_no_barriers, say, try_now, visit

SAMPLES = Path(__file__).parents[2] / "samples"


def test_text_voice_and_video_are_answered_and_come_back_from_history(page: Page, server: Server) -> None:
    visit(page, server)
    say(page, "say good luck")
    replies = page.locator(REPLY)
    expect(replies.nth(0)).to_contain_text("good luck")
    page.set_input_files("#file", SAMPLES / "hello.mp4")
    page.click("#send-file")
    expect(replies.nth(1).locator("img")).to_be_visible()
    page.click("#record")
    expect(page.locator("#status")).to_contain_text("Recording 1 s")
    page.click("#record")
    expect(replies.nth(2).locator("audio")).to_be_visible()
    for player in ("li.request audio", "li.request video", "li.reply audio"):
        page.wait_for_function(
            "player => [...document.querySelectorAll(player)].every(one => one.readyState > 0)", arg=player
        )
    page.reload()
    expect(page.locator("li.request")).to_have_count(3)
    expect(page.locator("li.request p").first).to_contain_text("say good luck")
    page.locator("li.reply img").scroll_into_view_if_needed()
    page.wait_for_function("() => document.querySelector('li.reply img')?.naturalWidth > 0")


def test_a_server_that_is_killed_is_explained_and_nothing_is_doubled(page: Page, serve: Serve) -> None:
    server = serve()
    visit(page, server, "#clientId=anna")
    say(page, "say one")
    expect(page.locator(REPLY)).to_have_count(1)
    server.kill()
    expect(page.locator("#status")).to_contain_text("Next attempt in")
    expect(page.locator("#retry")).to_be_visible()
    say(page, "say two")
    server.start()
    try_now(page)
    expect(page.locator(REPLY)).to_have_count(2)
    expect(page.locator(REPLY).nth(1)).to_contain_text("two")
    expect(page.locator("#status-text")).to_have_text("Connected")
    server.wait_until_stored("anna", ["say one", "say two"])
    page.reload()
    expect(page.locator("li.request")).to_have_count(2)


def test_a_message_that_was_refused_can_be_sent_again(page: Page, serve: Serve) -> None:
    server = serve(CHAT_TIME_ZONES="Pacific/*")
    page.goto(server.url)
    expect(page.locator("#status-text")).to_contain_text("does not serve your time zone")
    say(page, "say one")
    expect(page.locator(".failed")).to_contain_text("are not served here")
    server.kill()
    del server.settings["CHAT_TIME_ZONES"]
    server.start()
    page.click(".failed button")
    expect(page.locator(REPLY)).to_contain_text("one")
    expect(page.locator(".failed")).to_have_count(0)


def test_a_full_cluster_is_told_and_left_when_there_is_room(page: Page, serve: Serve) -> None:
    server = serve(CHAT_MAX_CONNECTIONS=1, CHAT_CONNECT_WAIT_SECONDS=1)
    with connect(f"ws://127.0.0.1:{server.chat}/connect?clientId=other&timeZone=UTC") as other:
        other.send(encode_request(Request(RequestKind.TEXT, b"hello")))
        page.goto(server.url)
        expect(page.locator("#status-text")).to_contain_text("number 1 in the queue")
    expect(page.locator("#status-text")).to_have_text("Connected")


def stand_in_line(address: str) -> None:
    with connect(address, open_timeout=90):
        pass  # one slot for a moment is all that it wants


def test_the_place_in_the_queue_is_live_while_the_handshake_waits(page: Page, serve: Serve) -> None:
    server = serve(CHAT_MAX_CONNECTIONS=1, CHAT_CONNECT_WAIT_SECONDS=60)
    address = f"ws://127.0.0.1:{server.chat}/connect?timeZone=UTC&clientId="
    with connect(f"{address}first") as first, ThreadPoolExecutor() as pool:
        first.send(encode_request(Request(RequestKind.TEXT, b"hello")))
        waiting = pool.submit(stand_in_line, f"{address}second")
        page.goto(server.url)
        status = page.locator("#status")
        expect(status).to_contain_text(re.compile("number [12] in the queue"))
        expect(page.locator("#retry")).to_be_hidden()  # it waits in the queue, and not for its next attempt
        first.close()
        waiting.result(timeout=60)
    expect(page.locator("#status-text")).to_have_text("Connected")


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"CHAT_TIME_ZONES": "Pacific/*"}, "does not serve your time zone"),
        (
            {
                "CHAT_AUTH": "jwt", "CHAT_TOKEN_SECRETS": "s" * 32, "HISTORY_AUTH": "jwt",
                "HISTORY_TOKEN_SECRETS": "s" * 32,
            },
            "asks for a token",
        ),
    ],
    ids=["time zone", "token"],
)  # fmt: skip
def test_a_denial_is_told_in_words(page: Page, serve: Serve, settings: dict[str, object], sentence: str) -> None:
    server = serve(**settings)
    page.goto(server.url)
    expect(page.locator("#status-text")).to_contain_text(sentence)


def test_earlier_conversations_scroll_and_are_found(page: Page, server: Server) -> None:
    session = "00000000-0000-4000-8000-000000000001"
    address = f"ws://127.0.0.1:{server.chat}/connect?clientId=anna&timeZone=UTC&sessionId={session}"
    with connect(address) as chat:
        for number in range(60):
            chat.send(encode_request(Request(RequestKind.TEXT, f"say number{number} please".encode())))
            chat.recv(timeout=30)
    visit(page, server, "#clientId=anna")
    say(page, "say hello")
    expect(page.locator("#sessions li")).to_have_count(2)
    page.locator("#sessions li").nth(1).locator("button").click()
    expect(page.locator("#list li")).to_have_count(50)
    for count in (100, 120):
        page.evaluate("document.getElementById('messages').scrollTop = 0")
        expect(page.locator("#list li")).to_have_count(count)
    expect(page.locator("#older")).to_contain_text("beginning")
    page.fill("#search", "number7")
    page.keyboard.press("Enter")
    expect(page.locator("#sessions li").first).to_contain_text("number7")
    page.fill("#search", "nowhere")
    page.keyboard.press("Enter")
    expect(page.locator("#sessions-note")).to_contain_text("No message")


def test_a_file_that_is_no_sound_or_video_is_refused_by_the_page(page: Page, serve: Serve, tmp_path: Path) -> None:
    server = serve(CHAT_MAX_FRAME_BYTES=10_000, CHAT_MAX_CONNECTION_BYTES=20_000)
    visit(page, server)
    (tmp_path / "note.pdf").write_bytes(b"%PDF")
    page.set_input_files("#file", tmp_path / "note.pdf")
    expect(page.locator("#status-text")).to_contain_text("Choose a sound or a video")
    page.set_input_files("#file", SAMPLES / "hello.mp3")
    page.click("#send-file")
    expect(page.locator("#status-text")).to_contain_text("too large")
    assert page.locator("#list li").count() == 0


def test_a_large_file_shows_how_much_of_it_is_sent(page: Page, server: Server) -> None:
    visit(page, server)
    with server.frozen():
        page.set_input_files("#file", {"name": "big.mp3", "mimeType": "audio/mpeg", "buffer": bytes(15_000_000)})
        page.click("#send-file")
        expect(page.locator("li.growing")).to_contain_text(re.compile(r"Sending, \d\d? %"))
    expect(page.locator("li.reply.error")).to_be_visible()  # zeros are no MP3


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1100])
def test_axe_finds_nothing_serious(
    context: BrowserContext, page: Page, server: Server, scheme: str, width: int
) -> None:
    page.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]
    page.set_viewport_size({"width": width, "height": 740})
    visit(page, server)
    say(page, "say hello")
    expect(page.locator(REPLY)).to_have_count(1)
    for opened in (False, True):
        if opened:
            page.click("#open-settings")
        expect_no_barriers(page)


def test_the_page_works_from_the_keyboard_alone(page: Page, server: Server) -> None:
    visit(page, server)
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")  # skip to the message field
    page.keyboard.type("say by keyboard")
    page.keyboard.press("Enter")
    expect(page.locator(REPLY)).to_contain_text("by keyboard")


def test_an_answer_of_history_that_breaks_off_is_told_as_no_answer(page: Page, server: Server) -> None:
    page.route("**/v1/**", lambda route: route.fulfill(status=200, content_type="application/json", body='{"sessio'))
    visit(page, server, "#clientId=anna")
    expect(page.locator("#sessions-note")).to_have_text("The server can't be reached.")
    page.unroute("**/v1/**")
    page.fill("#search", "nowhere")
    page.keyboard.press("Enter")
    expect(page.locator("#sessions-note")).to_contain_text("No message")
