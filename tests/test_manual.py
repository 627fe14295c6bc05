"""The API's documentation in a browser: all of it is the box's own."""

import re
from urllib.parse import urljoin

import pytest

from tests.box_client import open_client

PAGE = "http://box/docs"
# What a page, or a style sheet, has a browser fetch.
NAMED = re.compile(r"""(?:src|href|action)\s*=\s*["']?([^"'\s>]+)|url\(\s*["']?([^"')]+)|@import\s+["']?([^"';]+)""")


def named(text: str) -> list[str]:
    return [next(filter(None, parts)) for parts in NAMED.findall(text)]


async def test_whatever_the_page_fetches_is_there_and_needs_no_key(tmp_path):
    async with open_client(tmp_path) as client:
        del client.http.headers["X-API-Key"]
        page = await client.http.get(PAGE)
        parts = {name: await client.http.get(urljoin(PAGE, name)) for name in named(page.text)}
        assert {name: part.headers["content-type"].partition(";")[0] for name, part in parts.items()} == {
            "docs/favicon-32x32.png": "image/png",
            "docs/swagger-ui.css": "text/css",
            "docs/swagger-ui-bundle.js": "text/javascript",
            "docs/begin.js": "text/javascript",
        }
        assert [part.status_code for part in parts.values()] == [200] * 4
        assert "SwaggerUIBundle" in parts["docs/swagger-ui-bundle.js"].text
        begin = parts["docs/begin.js"].text
        assert "validatorUrl: null" in begin
        (description,) = re.findall(r'url: "(.*)"', begin)
        assert (await client.http.get(urljoin(PAGE, description))).json()["info"]["title"] == "Branchline"
        # Its pictures are within it.
        assert {name.partition(":")[0] for name in named(parts["docs/swagger-ui.css"].text)} == {"data"}


async def test_the_browser_is_told_to_fetch_nothing_from_elsewhere(tmp_path):
    async with open_client(tmp_path) as client:
        policy = (await client.http.get(PAGE)).headers["content-security-policy"]
        directives = dict(directive.split(maxsplit=1) for directive in policy.split("; "))
        assert directives["default-src"] == "'none'"
        assert {source for sources in directives.values() for source in sources.split()} == {
            "'none'",
            "'self'",
            "'unsafe-inline'",
            "data:",
        }
        assert directives["script-src"] == "'self'"


@pytest.mark.parametrize("path", ["/", "/docs", "/docs/begin.js", "/docs/oauth2-redirect", "/redoc", "/nothing"])
async def test_no_page_names_a_foreign_host(tmp_path, path):
    async with open_client(tmp_path) as client:
        assert "//" not in (await client.http.get(f"http://box{path}")).text


async def test_who_reads_of_an_order_is_told_how_a_key_goes_with_it(tmp_path):
    async with open_client(tmp_path) as client:
        description = (await client.http.get("http://box/openapi.json")).json()
        ((name, scheme),) = description["components"]["securitySchemes"].items()
        assert (scheme["type"], scheme["in"], scheme["name"]) == ("apiKey", "header", "X-API-Key")
        orders = [order for orders in description["paths"].values() for order in orders.values()]
        assert all(order["security"] == [{name: []}] for order in orders)
