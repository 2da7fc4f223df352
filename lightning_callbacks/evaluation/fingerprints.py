"""Describe the settings of an evaluation by values that are the same in every process."""

import hashlib
import json
import math
import types
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from enum import Enum
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from captum_cams import CAMAttribution
from captum_cams.bases.wrapped import WrappedCAM
from captum_cams.engine.layers import dotted
from captum_cams.engine.torch_internals import compiled_function
from captum_cams.engine.untouched import unwrap
from captum_cams.errors import CAMError
from lightning_callbacks.evaluation.code import code_of, globals_of, package_of
from lightning_callbacks.evaluation.structure import attributes_of, options_of, parts_of

_OF_CLASSES = (
    *(types.MethodDescriptorType, types.WrapperDescriptorType, types.GetSetDescriptorType),
    *(types.MemberDescriptorType, types.ClassMethodDescriptorType),
)


def digest(value: Any) -> str:
    """A hash of a value that JSON can hold."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:32]


def of_data(value: Any) -> str:
    """A hash of tensors in nested containers."""
    return digest(Description({}).of(value))


class Description:
    """Turns objects into values that JSON can hold; two objects have the same description only if they are equal.

    A function is described by its code, its closure and the global variables that it reads; an object by its state; a
    class by the code of its methods. Code of an installed package is described by its name and the package's version.

    Args:
        names: the modules of the evaluated network; each is described by its name.
        version: describes all of the user's own code, which is then not read.
    """

    def __init__(self, names: Mapping[nn.Module, str], version: str | None = None) -> None:
        self._names, self._version = names, version
        self._open: list[Any] = []
        self._lowest = math.inf
        self._done: dict[int, tuple[Any, Any]] = {}

    def of(self, value: Any) -> Any:
        """Describe any object.

        Raises:
            CAMError: its state cannot be read, for example of a lock, a generator or an open file.
        """
        if value is None or type(value) in (bool, int, str):
            return value
        if type(value) is float:
            return value if math.isfinite(value) else {"float": repr(value)}
        if isinstance(value, nn.Module):
            value = unwrap(value)
            if value in self._names:
                return {"module": self._names[value]}
        known = [index for index, one in enumerate(self._open) if one is value]
        if known:
            self._lowest = min(self._lowest, known[0])
            return {"within": len(self._open) - known[0]}
        if id(value) in self._done:
            return self._done[id(value)][1]
        outer, self._lowest = self._lowest, math.inf
        self._open.append(value)
        try:
            found = self._composed(value)
        finally:
            self._open.pop()
        # A description that refers to no outer object is the same everywhere, so it can be used again.
        if self._lowest >= len(self._open) and isinstance(value, type | types.FunctionType | nn.Module):
            self._done[id(value)] = (value, found)
        self._lowest = min(outer, self._lowest)
        return found

    def module(self, module: nn.Module) -> dict[str, Any]:
        """Describe each part of a network, and its parameters and buffers by a hash."""
        parts = {name: self._part(one) for name, one in parts_of(module)}
        weights = {**module.state_dict(), **dict(module.named_buffers())}
        return {"parts": parts, "weights": digest({key: self.of(one) for key, one in weights.items()})}

    def _part(self, module: nn.Module) -> str:
        if self._version is not None:
            return options_of(module)
        more = [self.of(type(module)), self.of(attributes_of(module))]
        return f"{options_of(module)} {digest(more)[:8]}"

    def _composed(self, value: Any) -> Any:
        if isinstance(value, Tensor):
            return {"tensor": _tensor(value)}
        if isinstance(value, np.ndarray) and value.dtype != object:
            return {"array": _bytes(f"{value.dtype} {value.shape}", np.ascontiguousarray(value))}
        if isinstance(value, CAMAttribution):
            return self._explainer(value)
        if isinstance(value, nn.Module):
            return self.module(value)
        if type(value) is dict:
            return self._mapping(value)
        if type(value) in (tuple, torch.Size):
            return [self.of(item) for item in value]
        if type(value) is list:
            return {"list": [self.of(item) for item in value]}
        if type(value) in (set, frozenset):
            return {"set": sorted((self.of(item) for item in value), key=digest)}
        if type(value) is bytes:
            return {"bytes": value.hex()}
        if isinstance(value, Enum):
            return {"enum": f"{type(value).__name__}.{value.name}"}
        if is_dataclass(value) and not isinstance(value, type) and type(value).__reduce__ is object.__reduce__:
            own = {field.name: self.of(getattr(value, field.name)) for field in fields(value)}
            return {"class": self.of(type(value))} | own
        return self._code(value)

    def _mapping(self, value: dict[Any, Any]) -> Any:
        if all(type(key) is str for key in value):
            return {key: self.of(one) for key, one in value.items()}
        return {"mapping": sorted(([self.of(key), self.of(one)] for key, one in value.items()), key=digest)}

    def _explainer(self, value: CAMAttribution) -> dict[str, Any]:
        options = {key: self.of(one) for key, one in value.hyperparameters.items() if key != "base"}
        if isinstance(value, WrappedCAM):
            options["base"] = self.of(value.base)  # the base has the layer
        elif value.given_layer is not None:
            options["layer"] = self.of(dotted(value.forward_func, value.given_layer))
        kind = type(value).__name__ if package_of(type(value).__module__) else self.of(type(value))
        return {"class": kind, "network": self.of(value.forward_func)} | options

    def _code(self, value: Any) -> Any:
        original = compiled_function(value)
        if original is not None:
            return self.of(original)
        if isinstance(value, types.ModuleType):
            return {"import": value.__name__}
        if isinstance(value, type | types.FunctionType):
            return self._defined(value)
        if isinstance(value, types.MethodType):
            return {"method": self.of(value.__func__), "of": self.of(value.__self__)}
        if isinstance(value, types.BuiltinFunctionType) and not isinstance(value.__self__, types.ModuleType | None):
            return {"method": value.__name__, "of": self.of(value.__self__)}
        if isinstance(value, types.BuiltinFunctionType):
            return {"name": f"{value.__module__}.{value.__qualname__}"}
        if isinstance(value, _OF_CLASSES):
            return {"name": f"{value.__objclass__.__module__}.{value.__qualname__}"}
        if isinstance(value, torch.jit.ScriptFunction):
            return {"script": digest(value.code)}
        if isinstance(value, partial):
            return {"partial": [self.of(part) for part in (value.func, value.args, value.keywords)]}
        return self._object(value)

    def _defined(self, value: type | types.FunctionType) -> Any:
        package = package_of(value.__module__)
        if package is None and self._version is not None:
            return {"version": self._version}
        if package is None:
            return {"code": digest(self._class(value) if isinstance(value, type) else self._function(value, own=True))}
        name = {"name": f"{value.__module__}.{value.__qualname__} ({package})"}
        return name if isinstance(value, type) else name | {"code": digest(self._function(value, own=False))}

    def _function(self, value: types.FunctionType, own: bool) -> list[Any]:
        """A function of the user with its global variables; a function of a package with its closure only."""
        cells = {
            name: self.of(cell.cell_contents) if _filled(cell) else "empty"
            for name, cell in zip(value.__code__.co_freevars, value.__closure__ or (), strict=True)
        }
        more = [value.__defaults__, value.__kwdefaults__, vars(value), globals_of(value)] if own else []
        return [code_of(value.__code__), cells, *map(self.of, more)]

    def _class(self, value: type) -> list[Any]:
        own = {key: one for key, one in vars(value).items() if not key.startswith("__") or callable(one)}
        own = {key: _function_in(one) for key, one in own.items() if key not in ("_abc_impl", "__hash__")}
        return [value.__name__, [self.of(base) for base in value.__bases__], self.of(own)]

    def _object(self, value: Any) -> Any:
        """An object, described by the values that pickle would save."""
        if type(value).__module__ == "functools" and hasattr(value, "__wrapped__"):
            return {"wrapped": self.of(value.__wrapped__)}
        if self._version is not None and package_of(type(value).__module__) is None:
            return {"version": self._version}
        try:
            reduced = value.__reduce_ex__(2)
        except Exception as error:  # a class may raise anything here
            raise CAMError(
                f"the settings of an evaluation must be comparable, but they hold a {type(value).__name__}, which "
                f"cannot be compared with another run ({error}); pass version= to evaluate, so that code is not "
                "compared, or pass no out"
            ) from error
        if isinstance(reduced, str):
            return {"name": f"{getattr(value, '__module__', '')}.{reduced}"}
        function, args, state, *items = (*reduced, None)[:3] + tuple(map(_listed, reduced[3:5]))
        return {"object": [self.of(function), self.of(args), self.of(state), *map(self.of, items)]}


def _listed(items: Any) -> Any:
    return None if items is None else list(items)


def _filled(cell: types.CellType) -> bool:
    try:
        _ = cell.cell_contents
    except ValueError:
        return False
    return True


def _function_in(member: Any) -> Any:
    if isinstance(member, staticmethod | classmethod):
        return (type(member).__name__, member.__func__)
    return (member.fget, member.fset) if isinstance(member, property) else member


def _tensor(value: Tensor) -> str:
    plain = value.detach().to("cpu")
    plain = plain.dequantize() if plain.is_quantized else plain.to_dense() if plain.layout != torch.strided else plain
    kind = f"{value.dtype} {tuple(value.shape)}"
    return _bytes(kind, plain.resolve_conj().resolve_neg().contiguous().flatten().view(torch.uint8).numpy())


def _bytes(kind: str, data: Any) -> str:
    found = hashlib.sha256(kind.encode())
    found.update(data.reshape(-1).view(np.uint8))
    return found.hexdigest()[:32]
