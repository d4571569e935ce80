"""Two Python functions as tools: reading is free, and cancelling waits for somebody's approval."""

from typing import Literal, TypedDict

from breezeway_server.agents.tools.base import ToolError


class Order(TypedDict):
    id: str
    item: str
    state: Literal["open", "shipped", "cancelled"]


ORDERS: dict[str, Order] = {
    "A1": {"id": "A1", "item": "a teapot", "state": "open"},
    "A2": {"id": "A2", "item": "a kettle", "state": "shipped"},
}


async def find_order(order_id: str) -> Order:
    """Looks up an order by its id, such as A1."""
    if order_id not in ORDERS:
        raise ToolError(f"There is no order {order_id}; ids are {', '.join(ORDERS)}.")
    return ORDERS[order_id]


def cancel_order(order_id: str, reason: str = "") -> str:
    """Cancels an order that has not been shipped."""
    order = ORDERS.get(order_id)
    if order is None or order["state"] != "open":
        raise ToolError("Only open orders can be cancelled.")
    order["state"] = "cancelled"
    return f"Order {order_id} is cancelled ({reason or 'no reason given'})."
