"""What `breezeway serve` says when it is ready."""

from collections.abc import Sequence
from pathlib import Path


def banner(url: str, grpc_listen: str, models: Sequence[str], data_dir: Path) -> str:
    """Return the text: where things are, which agents there are, and a line to try."""
    model = "assistant" if "assistant" in models or not models else models[0]
    agents = ", ".join(models) or "listed to whoever has a key"
    return f"""
Breezeway is ready.

  OpenAI API   {url}/v1
  gRPC         {grpc_listen}
  agents       {agents}
  data         {data_dir}

Try it:

  curl -N {url}/v1/chat/completions -H 'Content-Type: application/json' \\
    -d '{{"model": "{model}", "stream": true, "messages": [{{"role": "user", "content": "What is 6 * 7?"}}]}}'
"""
