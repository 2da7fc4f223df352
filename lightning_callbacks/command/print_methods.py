"""The methods that there are, one in each line."""

from captum_cams import names
from captum_cams.registry import lookup


def print_methods() -> None:
    """Print each method: its name, its paper, its cost in forward passes."""
    classes = {name: lookup(name) for name in names()}
    rows = [(name, str(cls.paper or ""), str(cls.cost)) for name, cls in classes.items()]
    widths = [max(len(row[i]) for row in rows) for i in range(2)]
    for name, paper, cost in rows:
        print(f"{name:{widths[0]}}  {paper:{widths[1]}}  {cost}")
