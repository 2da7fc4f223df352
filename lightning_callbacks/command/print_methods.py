"""The command ``captum-cams methods``."""

from captum_cams import names
from captum_cams.registry import lookup

_LEGEND = """
K: channels of the layer. P: positions of the layer. L: blocks of the transformer. gradient: a backward pass.
base: the method inside a wrapper.
behind the layer: only the part of the network after the layer runs. Other words are options of the method."""


def print_methods() -> None:
    """Print a table of all methods with their paper and their cost, and explain how to read the cost."""
    classes = {name: lookup(name) for name in names()}
    rows = [("method", "paper", "forward passes per image")]
    rows += [(name, str(cls.paper or ""), str(cls.cost)) for name, cls in classes.items()]
    widths = [max(len(row[i]) for row in rows) for i in range(2)]
    for name, paper, cost in rows:
        print(f"{name:{widths[0]}}  {paper:{widths[1]}}  {cost}")
    print(_LEGEND)
