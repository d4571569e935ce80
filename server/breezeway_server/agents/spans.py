"""What spans of runs and of model calls say alike, in the words of OpenTelemetry's conventions for generative AI."""

from breezeway.telemetry.traces import Attributes
from breezeway.v1 import run_pb2


def usage_attributes(usage: run_pb2.Usage) -> Attributes:
    """Return the tokens that were read and written."""
    return {
        "gen_ai.usage.input_tokens": usage.input_tokens,
        "gen_ai.usage.output_tokens": usage.output_tokens,
        "gen_ai.usage.cache_read.input_tokens": usage.cached_input_tokens,
        "gen_ai.usage.reasoning.output_tokens": usage.reasoning_output_tokens,
    }
