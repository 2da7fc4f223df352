"""A network with an operation of any kind in its middle."""

import torch
from torch import Tensor, nn


class Refused(nn.Module):
    def __init__(self, operation) -> None:
        super().__init__()
        self.conv, self.inner, self.last = nn.Conv2d(3, 4, 3), Operation(operation), nn.Conv2d(4, 4, 3)
        self.fc = nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(self.last(self.inner(self.conv(x))).relu().mean((2, 3)))


class Operation(nn.Module):
    def __init__(self, operation) -> None:
        super().__init__()
        self.operation = operation

    def forward(self, x: Tensor) -> Tensor:
        return self.operation(x)


class Swish(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x * x.sigmoid()

    @staticmethod
    def backward(ctx, gradient):
        (x,) = ctx.saved_tensors
        return gradient * x.sigmoid() * (1 + x * (1 - x.sigmoid()))
