"""The documentation of the box's own API in a browser: Swagger UI, all of it from the box itself.

A branch office's box may have no internet, and what a page fetches from elsewhere could read the key that somebody
types into it: so the browser is told to fetch nothing from anywhere else.
"""

from importlib.resources import files
from pathlib import Path

from fastapi import APIRouter
from starlette.responses import FileResponse, Response

PATH = "/docs"
# Swagger UI as its authors have built it.
PARTS = {
    "swagger-ui.css": "text/css",
    "swagger-ui-bundle.js": "text/javascript",
    "favicon-32x32.png": "image/png",
}

# Addresses are relative, so that the page works behind a proxy that has the box under a path of its own.
PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Branchline</title>
<link rel="icon" href="docs/favicon-32x32.png">
<link rel="stylesheet" href="docs/swagger-ui.css">
</head>
<body>
<div id="here"></div>
<script src="docs/swagger-ui-bundle.js"></script>
<script src="docs/begin.js"></script>
</body>
</html>
"""

# By default it asks a validator on the internet what it thinks of the API.
BEGIN = """SwaggerUIBundle({
    url: "openapi.json",
    dom_id: "#here",
    deepLinking: true,
    validatorUrl: null,
});
"""

# Swagger UI has its pictures in its style sheet, and styles in its elements.
POLICY = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data:; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
}
# It changes when the box is updated.
KEPT = {"Cache-Control": "max-age=3600", "X-Content-Type-Options": "nosniff"}


def manual_routes() -> APIRouter:
    routes = APIRouter()
    place = Path(str(files("fastapi_swagger"))) / "resources"

    @routes.get(PATH)
    async def page() -> Response:
        return Response(PAGE, media_type="text/html", headers=POLICY)

    @routes.get(f"{PATH}/begin.js")
    async def begin() -> Response:
        return Response(BEGIN, media_type="text/javascript", headers=KEPT)

    def add(name: str, media_type: str) -> None:
        @routes.get(f"{PATH}/{name}")
        async def part() -> Response:
            return FileResponse(place / name, media_type=media_type, headers=KEPT)

    for name, media_type in PARTS.items():
        add(name, media_type)
    return routes
