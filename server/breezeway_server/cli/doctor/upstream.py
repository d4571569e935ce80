"""The models behind llm agents: whether their endpoint answers, takes our key and knows the model."""

from collections.abc import Mapping

import aiohttp
import msgspec

from breezeway_server.agents.config import OPENAI_BASE_URL, LlmConfig, resolve_api_key
from breezeway_server.cli.doctor.finding import Finding, fail, ok, warn

_MOST_SECONDS = 15.0
_MAX_ANSWER = 16 * 1024 * 1024


class _Model(msgspec.Struct):
    id: str


class _Models(msgspec.Struct):
    """What `GET /models` answers."""

    data: list[_Model]


async def check_upstream(name: str, config: LlmConfig, environ: Mapping[str, str]) -> list[Finding]:
    """Ask the endpoint which models it has, which costs nothing. What it says of itself is not repeated."""
    check = f"agent {name}"
    key = resolve_api_key(name, config, environ)
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    headers |= {header: value.get_secret_value() for header, value in config.headers.items()}
    where = f"{config.base_url}/models"
    timeout = aiohttp.ClientTimeout(total=_MOST_SECONDS, connect=config.connect_timeout)
    try:
        async with (
            aiohttp.ClientSession(timeout=timeout) as session,
            session.get(where, headers=headers, allow_redirects=False) as response,
        ):
            if response.status != 200:
                return [_refused(check, where, response.status, _key_place(name, config))]
            body = await _read(response)
    except TimeoutError:
        return [fail(check, f"{where} did not answer in time.", "Start it, or correct base_url.")]
    except (aiohttp.ClientError, OSError) as error:
        return [fail(check, f"{where} cannot be reached ({type(error).__name__}).", "Start it, or correct base_url.")]
    return [_known(check, where, config, body, keyed=key is not None)]


async def _read(response: aiohttp.ClientResponse) -> bytes:
    body = bytearray()
    while len(body) < _MAX_ANSWER and (chunk := await response.content.readany()):
        body += chunk
    return bytes(body)


def _known(check: str, where: str, config: LlmConfig, body: bytes, *, keyed: bool) -> Finding:
    try:
        models = {model.id for model in msgspec.json.decode(body, type=_Models).data}
    except msgspec.DecodeError:
        advice = "Correct base_url where calls fail too; it ends in /v1 as a rule."
        return warn(check, f"{where} answers with no list of models.", advice)
    missing = [model for model in (config.model, *config.fallback_models) if model not in models]
    if missing:
        said = f"{where} does not list {', '.join(missing)} among its {len(models)} models."
        return warn(check, said, "Correct model and fallback_models, or fetch the model there.")
    return ok(check, f"{where} knows {config.model}{', and takes the key' if keyed else ''}.")


def _refused(check: str, where: str, status: int, place: str) -> Finding:
    if status in {401, 403}:
        return fail(check, f"{where} refuses the key, with status {status}.", f"Correct {place}.")
    if status in {404, 405}:
        advice = "Correct base_url where calls fail too; it ends in /v1 as a rule."
        return warn(check, f"{where} is not there, so that nothing is known of key and model.", advice)
    return warn(check, f"{where} answers with status {status}.", "Look again later.")


def _key_place(name: str, config: LlmConfig) -> str:
    """Where the key is said."""
    if config.api_key is not None:
        return f"agents.{name}.api_key"
    if config.api_key_env is not None:
        return config.api_key_env
    return "OPENAI_API_KEY" if config.base_url == OPENAI_BASE_URL else f"agents.{name}.api_key_env, which is not set"
