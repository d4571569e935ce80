"""The configuration of the guide to LibreChat: it leads to a system and to an agent that is there."""

import yaml

from tests.deploy.asking import ask
from tests.guides.blocks import only
from tests.support.system import System


def test_the_endpoint_of_the_guide_to_librechat_has_what_it_names(system: System) -> None:
    (endpoint,) = yaml.safe_load(only("librechat", "yaml"))["endpoints"]["custom"]
    url = endpoint["baseURL"].replace("http://127.0.0.1:8642", system.url)
    assert url != endpoint["baseURL"]
    listed = ask(f"{url}/models")
    for name in (*endpoint["models"]["default"], endpoint["titleModel"]):
        assert f'"{name}"' in listed
    assert endpoint["apiKey"].strip("${}") in only("librechat", "sh")
