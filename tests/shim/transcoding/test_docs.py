import re
import shlex
from pathlib import Path
from urllib.parse import urlsplit

from breezeway_shim.transcoding import native
from breezeway_shim.transcoding.requests import read_request
from breezeway_shim.transcoding.routing import Router
from breezeway_shim.transcoding.rules import routes_of

GUIDE = Path(__file__).parents[3] / "docs" / "http.md"


def test_every_curl_line_of_the_guide_is_a_request_that_is_understood() -> None:
    router = Router(route for service in native.services() for route in routes_of(service))
    blocks = re.findall(r"```sh\n(.*?)```", GUIDE.read_text(), re.DOTALL)
    commands = [
        shlex.split(line) for block in blocks for line in re.split(r"^(?=curl )", block, flags=re.MULTILINE) if line
    ]
    assert len(commands) > 8
    for command in commands:
        body = command[command.index("-d") + 1] if "-d" in command else ""
        method = command[command.index("-X") + 1] if "-X" in command else "POST" if body else "GET"
        url = urlsplit(next(word for word in command if word.startswith("http://")))
        route, variables = router.find(method, url.path)
        read_request(route, variables, url.query, body.encode())
