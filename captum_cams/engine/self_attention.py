"""The attention of a run whose blocks all share one grid of tokens, and the places of these tokens on the map."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import prod
from typing import Any

import torch
from torch import Tensor
from torch.utils.checkpoint import CheckpointError

from captum_cams.engine.graph import depends
from captum_cams.engine.layers import describe
from captum_cams.engine.layout import Layout
from captum_cams.engine.tap import Attention, Tap
from captum_cams.engine.targets import wide
from captum_cams.errors import CAMError, shape_of


@dataclass(frozen=True, eq=False)
class SelfAttention:
    """What the tokens of a transformer read from each other in one run.

    Token t of every block is token t of the layer that is explained: all blocks have the same T tokens.
    """

    blocks: tuple[Attention, ...]
    """The self-attention of each block, the first block first."""
    pooling: Attention | None
    """The attention at the end by which queries of their own read the tokens; most networks have none."""
    positions: Tensor
    """h×w, the token at each position of the map. Class, distillation and register tokens are not among them."""
    score: Tensor
    """N, the explained score at the end of the autograd graph."""

    @classmethod
    def of(
        cls, tap: Tap, score: Tensor, layout: Layout | None, activation: Tensor, network: Callable[..., Any]
    ) -> "SelfAttention":
        """Check that all attention of a run is over one grid of tokens.

        Args:
            tap: recorded the run.
            score: the explained score of each sample.
            layout: how tokens become the map of the layer.
            activation: N×K×h×w, the map of the layer.
            network: the model, for messages.

        Raises:
            CAMError: if there is no attention, or some of it is over windows, over pooled keys, over other tokens than
                those of the layer, or changed between the softmax and the values.
        """
        if tap.changed:
            raise CAMError(
                f"attention must multiply the values as the softmax gives it, but {_called(tap.changed[0], network)} "
                "changes it in between, as talking heads do; use a method of the layer, such as Grad-CAM"
            )
        recorded = tap.attention
        for attention in recorded:
            _check_heads(attention, len(score), network)
        square = [attention for attention in recorded if attention.weights.shape[-1] == attention.weights.shape[-2]]
        if not square:
            raise CAMError(
                f"attention methods need softmax attention among tokens, got none in {type(network).__name__}; for a "
                "convolutional network use Grad-CAM or another method of the layer"
            )
        count = square[0].weights.shape[-1]
        positions = token_positions(layout, (count,), activation)
        blocks = recorded[:-1] if recorded[-1].weights.shape[-2] != count else recorded
        pooling = recorded[-1] if len(blocks) < len(recorded) else None
        for attention in recorded:
            queries, keys = attention.weights.shape[-2:]
            if keys != count or (queries != count and attention is not pooling):
                raise CAMError(
                    f"attention methods need one grid of tokens in all blocks, got {count} tokens first, and {queries} "
                    f"queries with {keys} keys in {_called(attention.module, network)}; use a method of the layer, "
                    "such as Grad-CAM"
                )
        for earlier, later in pairwise(recorded):
            if not depends(later.weights, earlier.weights):
                raise CAMError(
                    f"attention methods need attention that follows one another, but {_called(later.module, network)} "
                    f"does not depend on {_called(earlier.module, network)}; if the forward pass detaches tokens or "
                    "uses checkpoint(..., use_reentrant=True) in between, switch that off; if they work side by side, "
                    "use a method of the layer, such as Grad-CAM"
                )
        return cls(tuple(blocks), pooling, positions, score)

    @property
    def all(self) -> tuple[Attention, ...]:
        """The blocks, and the pooling at the end if there is one."""
        return self.blocks if self.pooling is None else (*self.blocks, self.pooling)

    @property
    def weights(self) -> list[Tensor]:
        """The weights of :attr:`all`, each N×heads×Q×T in float32 or float64, without their graph."""
        return [_with_heads(attention.weights.detach(), len(self.score)) for attention in self.all]

    def gradients(self) -> list[Tensor]:
        """Compute the derivative of the score with respect to the weights of :attr:`all`, each N×heads×Q×T.

        Raises:
            CAMError: as :func:`gradients_of`.
        """
        return gradients_of(self.score, self.all)

    def reading(self) -> Tensor:
        """Find the tokens that the head of the network reads: the class token, or the tokens that it averages.

        These are the queries of the last attention whose weights change the score.

        Returns:
            N×Q, the share of each query of the last attention: equal for all that are read, and 0 for the others.

        Raises:
            CAMError: if the score of a sample changes with none of them.
        """
        (gradient,) = gradients_of(self.score, self.all[-1:])
        return equal_shares(gradient)

    def on_map(self, values: Tensor) -> Tensor:
        """Put one value for each token, N×T, on the map, N×1×h×w."""
        return values[:, self.positions][:, None]


def equal_shares(gradient: Tensor) -> Tensor:
    """Share out 1 among the queries with a gradient, N×Q; see :meth:`SelfAttention.reading`."""
    read = gradient.abs().amax((1, 3)) > 0
    for n, row in enumerate(read):
        if not row.any():
            raise CAMError(
                f"the score must depend on the last attention, got no gradient for sample {n}; is the classifier "
                "still zero, as in a new network of torchvision?"
            )
    return read.to(gradient.dtype) / read.sum(1, keepdim=True)


def gradients_of(values: Tensor, attention: Sequence[Attention], direction: Tensor | None = None) -> list[Tensor]:
    """Compute the derivative of Σ direction ∘ values with respect to attention weights; 0 where there is no path.

    Args:
        values: the scores N, or N×…
        attention: the attention before them.
        direction: the factors of the values; None means 1.

    Returns:
        For each attention N×heads×Q×T.

    Raises:
        CAMError: if the values depend on none of them, or a part of the model is recomputed in the backward pass.
    """
    weights = [one.weights for one in attention]
    direction = torch.ones_like(values) if direction is None else direction
    gradients: Sequence[Tensor | None] = [None]
    if values.requires_grad:
        try:
            gradients = torch.autograd.grad(values, weights, direction, allow_unused=True, retain_graph=True)
        except (RuntimeError, CheckpointError) as error:
            if not isinstance(error, CheckpointError) and "use_reentrant" not in str(error):
                raise
            raise CAMError(
                "gradients of attention cannot be computed through checkpointing; switch it off in the model, as in "
                "model.set_grad_checkpointing(False), or use attention rollout"
            ) from error
    if all(gradient is None for gradient in gradients):
        raise CAMError(
            "the score must depend on the attention, got no gradient; does the forward pass detach it, or run a later "
            "part under no_grad or in checkpoint(..., use_reentrant=True)?"
        )
    filled = [torch.zeros_like(w) if g is None else g for w, g in zip(weights, gradients, strict=True)]
    return [_with_heads(gradient, len(values)) for gradient in filled]


def _called(module: Any, network: Callable[..., Any]) -> str:
    return "the model" if module is None else f"module {describe(network, module)}"


def _with_heads(values: Tensor, samples: int) -> Tensor:
    """Weights or their gradients as N×heads×Q×T; attention by hand may leave out one of the first two axes."""
    if values.ndim == 3:
        values = values[None] if samples == 1 else values[:, None]
    return wide(values)


def _check_heads(attention: Attention, samples: int, network: Callable[..., Any]) -> None:
    weights = attention.weights
    shape = _with_heads(weights.detach(), samples).shape
    if len(shape) == 4 and shape[0] == samples:
        return
    remedy = "use a method of the layer, such as Grad-CAM"
    if weights.ndim == 3:
        remedy += ", or explain one image at a time if the first axis holds the heads of all samples"
    raise CAMError(
        f"attention methods need weights N×heads×T×T with N = {samples}, got {shape_of(weights)} in "
        f"{_called(attention.module, network)}, as attention inside windows gives; {remedy}"
    )


def token_positions(layout: Layout | None, grid: Sequence[int], activation: Tensor) -> Tensor:
    """Find which token is at each position of the map: the layout rearranges their numbers as it does their values.

    Args:
        layout: how tokens become the map of the layer.
        grid: the axes of the tokens, T or h×w.
        activation: N×K×h×w, the map of the layer.

    Returns:
        h×w, the number of the token at each position.

    Raises:
        CAMError: if the tokens are not those of the layer.
    """
    size, count = activation.shape[2:], prod(grid)
    remedy = "pass a layer that gives all tokens, such as the first norm of the last block, and reshape=tokens(prefix)"
    if layout is None:
        raise CAMError(f"attention methods need the layout of the tokens, got none; {remedy}")
    numbers = torch.arange(count, dtype=torch.float64, device=activation.device).view(1, *grid, 1)
    others = (numbers + 1).sqrt()
    try:
        placed, check = layout.to_map(numbers), layout.to_map(others)
    except CAMError as error:
        raise CAMError(f"the {count} tokens of the attention must fill the map of the layer; {remedy}") from error
    moved = placed.shape == (1, 1, *size) and len(placed.unique()) == placed.numel()
    if not moved or not torch.equal(others.flatten()[placed.long()], check):  # a mean, for example
        raise CAMError(
            f"the {count} tokens of the attention must be those of the layer, got a map 1×1×{shape_of(placed[0, 0])} "
            f"for a layer of {'×'.join(map(str, size))} positions; {remedy}"
        )
    return placed[0, 0].long()
