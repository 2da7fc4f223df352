"""The autograd graph of one run: through which values everything passes on its way from the images to the output."""

from collections.abc import Iterable

from torch import Tensor
from torch.autograd.graph import Node, get_gradient_edge


def passages(roots: Iterable[Node], sources: set[Node]) -> dict[Node, int]:
    """Find the nodes that lie on every path from the roots to the sources.

    Args:
        roots: the nodes of the outputs.
        sources: the nodes of the inputs.

    Returns:
        Each such node with its number on the way, counted from the output; empty if no path leads to a source.
    """
    roots = list(roots)
    order = _ordered(roots, sources)
    known = {node: i for i, node in enumerate(order)}
    arrived = dict.fromkeys(order, 0)
    for root in roots:
        if root in known:
            arrived[root] += 1
    under_way = sum(arrived.values())  # edges that begin at a node that was visited, and end at one that was not
    found: dict[Node, int] = {}
    for node in order:
        if arrived[node] == under_way:
            found[node] = known[node]
        under_way -= arrived[node]
        if node not in sources:
            for child in _inputs(node):
                if child in known:
                    arrived[child] += 1
                    under_way += 1
    return found


def reached(roots: Iterable[Node]) -> set[Node]:
    """All nodes that the roots depend on, and the roots themselves."""
    found: set[Node] = set()
    waiting = list(roots)
    while waiting:
        node = waiting.pop()
        if node not in found:
            found.add(node)
            waiting.extend(_inputs(node))
    return found


def depends(later: Tensor, earlier: Tensor) -> bool:
    """Tell whether there is a path in the autograd graph from one tensor to a later one."""
    goal, seen, waiting = get_gradient_edge(earlier).node, set(), [later.grad_fn]
    while waiting:
        node = waiting.pop()
        if node is goal:
            return True
        if node is not None and node not in seen:
            seen.add(node)
            waiting.extend(_inputs(node))
    return False


def joins(roots: Iterable[Node], source: Node) -> bool:
    """Tell whether two values that both come from a node meet again on the way to the roots."""
    order = {*_ordered([*roots], {source})}
    return any(len(order.intersection(_inputs(node))) > 1 for node in order - {source})


def _inputs(node: Node) -> list[Node]:
    return [child for child, _ in node.next_functions if child is not None]


def _ordered(roots: list[Node], sources: set[Node]) -> list[Node]:
    """The nodes between roots and sources, each before all nodes that it depends on."""
    leads: dict[Node, bool] = {}
    order: list[Node] = []
    waiting = [(root, False) for root in roots]
    while waiting:
        node, done = waiting.pop()
        if done:
            leads[node] = node in sources or any(leads.get(child, False) for child in _inputs(node))
            if leads[node]:
                order.append(node)
        elif node not in leads:
            leads[node] = False
            waiting.append((node, True))
            if node not in sources:
                waiting.extend((child, False) for child in _inputs(node) if child not in leads)
    return order[::-1]
