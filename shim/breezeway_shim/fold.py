"""The fold of a run's events into a Run, for those who have the events and need the run."""

from typing import assert_never

from breezeway.v1 import event_pb2, item_pb2, run_pb2


class RunFold:
    """Takes a run's events in order; `run` is the run as of the newest.

    Deltas add nothing to it, because completed items repeat them: events with and without deltas fold to the same
    run once their items are completed. What is not in the log stays unset: the input.
    """

    def __init__(self) -> None:
        self.run = run_pb2.Run()
        self._positions: dict[str, int] = {}
        self._awaited: set[str] = set()

    def add(self, event: event_pb2.RunEvent) -> None:  # noqa: C901  one case a kind is the simplest form
        """Take in the next event."""
        run = self.run
        run.last_sequence = event.sequence
        match kind := event.WhichOneof("kind"):
            case "text_delta" | "reasoning_delta" | "tool_arguments_delta" | "refusal_delta" | "tool_progress" | None:
                pass
            case "item_started":
                self._put(event.item_started.item)
            case "item_completed":
                self._put(event.item_completed.item)
            case "run_queued":
                run.id = event.run_id
                run.state = run_pb2.RUN_STATE_QUEUED
                run.spec.CopyFrom(event.run_queued.spec)
                run.create_time.CopyFrom(event.create_time)
            case "run_started":
                run.state = run_pb2.RUN_STATE_IN_PROGRESS
                run.attempt = event.attempt
                if not run.HasField("start_time"):
                    run.start_time.CopyFrom(event.create_time)
            case "model_call_completed":
                self._add_usage(event.model_call_completed.usage)
            case "approval_requested":
                self._awaited.add(event.approval_requested.item_id)
                run.state = run_pb2.RUN_STATE_REQUIRES_ACTION
            case "approval_resolved":
                self._awaited.discard(event.approval_resolved.item_id)
                if not self._awaited:
                    run.state = run_pb2.RUN_STATE_IN_PROGRESS
            case "run_completed":
                self._end(event, run_pb2.RUN_STATE_COMPLETED, event.run_completed.usage)
            case "run_incomplete":
                self._end(event, run_pb2.RUN_STATE_INCOMPLETE, event.run_incomplete.usage)
                run.incomplete_reason = event.run_incomplete.reason
            case "run_failed":
                self._end(event, run_pb2.RUN_STATE_FAILED, event.run_failed.usage)
                run.error.CopyFrom(event.run_failed.error)
            case "run_cancelled":
                self._end(event, run_pb2.RUN_STATE_CANCELLED, event.run_cancelled.usage)
            case _:
                assert_never(kind)

    def _put(self, item: item_pb2.Item) -> None:
        """An item keeps the place at which it began."""
        position = self._positions.get(item.id)
        if position is None:
            self._positions[item.id] = len(self.run.output)
            self.run.output.append(item)
        else:
            self.run.output[position].CopyFrom(item)

    def _add_usage(self, usage: run_pb2.Usage) -> None:
        total = self.run.usage
        total.input_tokens += usage.input_tokens
        total.cached_input_tokens += usage.cached_input_tokens
        total.cache_write_input_tokens += usage.cache_write_input_tokens
        total.output_tokens += usage.output_tokens
        total.reasoning_output_tokens += usage.reasoning_output_tokens
        total.model_calls += usage.model_calls

    def _end(self, event: event_pb2.RunEvent, state: run_pb2.RunState.ValueType, usage: run_pb2.Usage) -> None:
        self.run.state = state
        self.run.usage.CopyFrom(usage)
        self.run.end_time.CopyFrom(event.create_time)
