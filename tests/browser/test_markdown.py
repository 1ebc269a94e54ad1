"""What the bot says is shown as Markdown, and nothing that it says becomes code or loads anything."""

from typing import Any

import pytest
from playwright.sync_api import Error, Page, expect

from tests.browser.conftest import REPLY, Server, expect_no_barriers, say, visit

ELEMENTS = {
    "a", "blockquote", "br", "code", "del", "div", "em", "h3", "h4", "h5", "h6", "hr", "li", "ol", "p", "pre", "span",
    "strong", "table", "tbody", "td", "th", "thead", "tr", "ul",
}  # fmt: skip
ATTRIBUTES = {"class", "href", "rel", "start", "tabindex", "target"}
ELSEWHERE = "http://127.0.0.1:9"
HOSTILE = [
    "<script>document.title='broken'</script>",
    "<img src=x onerror=\"document.title='broken'\">",
    "<svg/onload=document.title='broken'>",
    "text <iframe srcdoc='<script>parent.document.title=1</script>'></iframe> text",
    "[link](javascript:document.title='broken')",
    "[link](JaVaScRiPt:document.title='broken')",
    "[link](java&#115;cript:document.title='broken')",
    "[link](javascript&colon;alert(1))",
    "[link](\u0001javascript:alert(1))",
    "[link](<java\tscript:alert(1)>)",
    "[link](data:text/html;base64,PHNjcmlwdD4=)",
    "[link](vbscript:x) [link](file:///etc/passwd) [link](blob:x) [link](//127.0.0.1:9/x)",
    "<javascript:alert(1)>",
    "[a]: javascript:alert(1)\n\n[a]",
    f"![picture]({ELSEWHERE}/picture.png)",
    f'![picture]({ELSEWHERE}/picture.png "title \\" onerror=1")',
    "![picture](data:image/svg+xml,<svg/onload=alert(1)>)",
    f"<img src='{ELSEWHERE}/i.png'> <link rel=stylesheet href='{ELSEWHERE}/s.css'>",
    f"<style>@import '{ELSEWHERE}/s.css'</style><meta http-equiv=refresh content='0;url={ELSEWHERE}/'>",
    f'[link]({ELSEWHERE}/"onmouseover="document.title=1)',
    "| a |\n|---|\n| <img src=x onerror=alert(1)> |",
    "```html\n<script>alert(1)</script>\n```",
    "`<img src=x onerror=alert(1)>`",
    "> " * 500 + "deep",
    "- " * 500 + "deep",
    "[" * 5000 + "x" + "](y)" * 50,
    "*" * 5000 + "a" + "_" * 3000,
]
TREE = """async (text) => {
  const { markdown } = await import("/web/markdown.js");
  const made = document.createElement("div");
  made.append(...markdown(text));
  document.querySelector("#list").append(made);
  return [...made.querySelectorAll("*")].map((each) => ({
    name: each.localName,
    attributes: Object.fromEntries([...each.attributes].map(({ name, value }) => [name, value])),
    protocol: each.protocol ?? null,
  }));
}"""


def test_markdown_is_shown_and_comes_back_from_history(page: Page, server: Server) -> None:
    visit(page, server)
    text = "say # Plan\n\nHere *is* **it**, `x < 1`, [a link](https://chat.example/a?b=1&c=2) and 1 &lt; 2:"
    table = (
        "\n\n3. one\n4. two\n\n| a | b |\n|---|--:|\n| 1 | 2 |\n\n- [x] done\n\n```\n<b>code</b>\n```\n\n> ~~quoted~~"
    )
    say(page, text + table)
    for _ in range(2):
        reply = page.locator(REPLY)
        expect(reply.locator("h3")).to_have_text("Plan")
        expect(reply.locator("p").first).to_have_text("Here is it, x < 1, a link and 1 < 2:")
        expect(reply.locator("a")).to_have_attribute("href", "https://chat.example/a?b=1&c=2")
        expect(reply.locator("a")).to_have_attribute("rel", "noopener noreferrer nofollow")
        expect(reply.locator("ol[start='3'] li")).to_have_text(["one", "two"])
        expect(reply.locator("td.right")).to_have_text("2")
        expect(reply.locator("ul li")).to_have_text("☑ done")
        expect(reply.locator("pre code")).to_have_text("<b>code</b>")
        expect(reply.locator("blockquote del")).to_have_text("quoted")
        expect(page.locator("li.request")).to_contain_text("# Plan")  # what the reader wrote stays as it was written
        page.reload()
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme)
        expect_no_barriers(page)


def test_nothing_that_is_said_becomes_code_or_loads_anything(page: Page, server: Server) -> None:
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    visit(page, server)
    for text in HOSTILE:
        found: list[dict[str, Any]] = page.evaluate(TREE, text)
        assert {each["name"] for each in found} <= ELEMENTS, text
        assert {name for each in found for name in each["attributes"]} <= ATTRIBUTES, text
        assert {each["protocol"] for each in found if each["name"] == "a"} <= {"http:", "https:", "mailto:"}, text
    say(page, "say " + "\n\n".join(HOSTILE[:8]))
    expect(page.locator(REPLY)).to_contain_text("<img src=x")
    assert page.title() == "Chatbot"
    assert page.locator("#list img, #list script, #list iframe").count() == 0
    assert [url for url in asked if not url.startswith((server.url, f"http://127.0.0.1:{server.history}/"))] == []


@pytest.mark.parametrize(
    "attack",
    [
        "() => { document.body.innerHTML = '<b>x</b>'; }",
        "() => { document.body.insertAdjacentHTML('beforeend', '<b>x</b>'); }",
        "() => { document.createElement('script').src = '/web/app.js'; }",
    ],
)
def test_the_policy_refuses_to_parse_a_text_as_html(page: Page, server: Server, attack: str) -> None:
    visit(page, server)
    with pytest.raises(Error, match="Trusted"):
        page.evaluate(attack)
