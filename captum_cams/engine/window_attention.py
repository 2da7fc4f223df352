"""Attention inside windows, put back in place: which token of its block each token of a window is."""

import torch
from torch import Tensor
from torch.nn import functional

from captum_cams.engine.tap import Attention
from captum_cams.engine.targets import wide

_ROUNDING = 0.01  # the gradient at other tokens is that of rounding, at least in float32 far below this share


def window_places(attention: Attention, samples: int) -> Tensor | None:
    """Find each token of the windows among the tokens of the block.

    Cutting a map into windows, shifting and padding it move tokens and leave their values as they are. So each token
    of a window has the values of one token of the first norm (or of the input) of its block, or is padding of zeros.

    Args:
        attention: R×heads×T×T, for R/N windows of each sample.
        samples: N.

    Returns:
        For each of the R·T/N tokens of the windows of a sample, its place among the M tokens of its block, and M for
        padding. None if the values do not tell it, or if the weights do not have the tokens in this order.
    """
    block, read = attention.block, attention.read
    if block is None or read is None or len(read.tokens) % samples:
        return None
    windows = wide(read.tokens.detach()).reshape(samples, -1, read.tokens.shape[-1])
    for source in (read.source, block.given):
        if source is None or source.shape != block.tokens.shape:
            continue
        tokens = wide(source.detach()).flatten(1, -2)
        found = (_matched(*pair) for pair in zip(windows, tokens, strict=True))
        places = next((place for place in found if place is not None), None)
        if places is None:
            continue
        # What holds for one sample must hold for all of them, also where some of their tokens are alike.
        padded = functional.pad(tokens, (0, 0, 0, 1))
        same = torch.equal(padded[:, places], windows)
        return places if same and _in_order(attention, places < tokens.shape[1]) else None
    return None


def in_place(values: Tensor, places: Tensor, count: int) -> Tensor:
    """Put one value for each token of the windows, R×T, back in place, N×M; those of padding are left out.

    Args:
        values: the values.
        places: as :func:`window_places` gives them.
        count: M, the number of tokens of the block.
    """
    values = values.reshape(-1, len(places))
    placed = values.new_zeros(len(values), count + 1)
    return placed.index_copy(1, places, values)[:, :count]


def _matched(rows: Tensor, source: Tensor) -> Tensor | None:
    """Find each of the rows in the source, which must have no row twice; all that are left over must be zeros."""
    count = len(source)
    distinct, numbers = torch.unique(torch.cat((source, rows)), dim=0, return_inverse=True)
    place = numbers.new_full((len(distinct),), count)
    place[numbers[:count]] = torch.arange(count, device=place.device)
    found = place[numbers[count:]]
    each_once = torch.bincount(found, minlength=count + 1)[:count] == 1
    return None if rows[found == count].any() or not each_once.all() else found


def _in_order(attention: Attention, real: Tensor) -> bool:
    """Prove with the graph that weight [r, head, q, k] is that of tokens q and k of window r.

    The quotient of two weights of a query depends on the query and on these two keys, and on no other token.

    Args:
        attention: the weights.
        real: R·T/N, False for padding.
    """
    weights, read = attention.weights, attention.read
    if read is None or weights.shape[-1] != weights.shape[-2] or weights.shape[-1] < 3:
        return False
    real = real.repeat(len(weights) * weights.shape[-1] // len(real)).view(len(weights), -1)
    shown = weights[:, 0].detach()
    # In each window the query that tells most, and its two keys; padding is the last choice.
    seen = shown > torch.finfo(shown.dtype).eps
    values, keys = torch.where(seen, shown + real[:, None], -1).topk(2)
    told, query = values[..., 1].masked_fill(~real, -1).max(1)
    rows = torch.nonzero(told > 0)[:, 0]  # a window of which each query sees one key tells nothing
    query, keys = query[rows], keys[rows, query[rows]]
    with torch.enable_grad():
        first, second = weights[rows, 0, query].gather(1, keys).log().unbind(1)
        (gradient,) = torch.autograd.grad((first - second).sum(), read.tokens, retain_graph=True, allow_unused=True)
    if gradient is None or not len(rows):
        return False
    moved = gradient.flatten(1, -2).abs().amax(2)
    both = torch.zeros_like(real)
    both[rows[:, None], keys] = True
    least = moved[both & real].min()
    # The query may tell nothing, where two keys are alike. Rounding alone moves padding far, where tokens of zeros are
    # divided by their norm.
    both[rows, query] = True
    return bool(moved.masked_fill(both | ~real, 0).max() < _ROUNDING * least)
