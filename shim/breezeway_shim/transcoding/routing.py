"""Which route a request takes."""

from collections.abc import Iterable, Mapping, Sequence

from breezeway_shim.transcoding.rules import ANY_METHOD, Route, RuleError


class NoSuchPath(Exception):
    """No route has a template that matches the path."""


class NoSuchMethod(Exception):
    """The path exists, but not with this method; `allowed` are those with which it does."""

    def __init__(self, allowed: Sequence[str]) -> None:
        super().__init__(", ".join(allowed))
        self.allowed = allowed


class Router:
    """All routes of a server. Raises `RuleError` where two would match the same requests with equal right.

    Of several templates that match a path, one with a verb goes before one without, and then, segment by segment,
    literal text before `*` before `**`. Of these the first that has the method is taken.
    """

    def __init__(self, routes: Iterable[Route]) -> None:
        by_shape: dict[tuple[str, str], Route] = {}
        for route in routes:
            key = (route.http_method, route.template.shape)
            if other := by_shape.setdefault(key, route):
                _refuse_ambiguity(route, other)
        self._routes = sorted(by_shape.values(), key=_precedence)

    def find(self, http_method: str, path: str) -> tuple[Route, Mapping[str, str]]:
        """Return the route of a request and the values of its variables; `path` is as it came, percent-encoded.

        Raises `NoSuchPath`, `NoSuchMethod`, and UnicodeDecodeError for a value that is not UTF-8.
        """
        allowed: set[str] = set()
        for route in self._routes:
            encoded = route.template.match(path)
            if encoded is None:
                continue
            if route.http_method in {http_method, ANY_METHOD}:
                return route, route.template.decode(encoded)
            allowed.add(route.http_method)
        if allowed:
            raise NoSuchMethod(sorted(allowed))
        raise NoSuchPath


def _refuse_ambiguity(route: Route, other: Route) -> None:
    if route is not other:
        raise RuleError(
            f"{route.rpc.full_name} and {other.rpc.full_name} have the same rule: "
            f"{route.http_method} {route.template.text} and {other.template.text}"
        )


def _precedence(route: Route) -> tuple[object, ...]:
    # A rule for one method goes before a rule for any.
    return (*route.template.specificity, route.http_method == ANY_METHOD)
