"""What `breezeway serve` says when it is ready."""

from collections.abc import Sequence
from pathlib import Path


def banner(url: str, grpc_listen: str, models: Sequence[str], data_dir: Path) -> str:
    """Return the text: where things are, which agents there are, and a line to try."""
    model = "assistant" if "assistant" in models else next(iter(models), "demo")
    agents = ", ".join(models) or "listed to whoever has a key"
    key = "" if models else ' \\\n    -H "Authorization: Bearer $BREEZEWAY_API_KEY"'
    return f"""
Breezeway is ready.

  OpenAI API   {url}/v1
  reference    {url}/docs
  gRPC         {grpc_listen}
  agents       {agents}
  data         {data_dir}

Try it:

  curl -N {url}/v1/chat/completions -H 'Content-Type: application/json'{key} \\
    -d '{{"model": "{model}", "stream": true, "messages": [{{"role": "user", "content": "What is 6 * 7?"}}]}}'
"""
