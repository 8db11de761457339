"""Modules: trees of parameters with a forward function, as in PyTorch."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from troupe._troupe import PlanError
from troupe.nn.parameter import Parameter
from troupe.trace import current

if TYPE_CHECKING:
    from troupe.session import Session

Self = TypeVar("Self", bound="Module")


class Module:
    """The base of all models. Assign modules and parameters to attributes in `__init__`, write `forward`.

    Called with tensors it records nodes; called with NumPy arrays it compiles, runs and returns arrays.
    """

    training: bool

    def __init__(self) -> None:
        object.__setattr__(self, "_parameters", {})
        object.__setattr__(self, "_buffers", {})
        object.__setattr__(self, "_not_saved", set())
        object.__setattr__(self, "_modules", {})
        object.__setattr__(self, "_owner", None)
        object.__setattr__(self, "training", True)

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """What the module computes; written by its subclass."""
        raise NotImplementedError(f"{type(self).__name__} has no forward")

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        trace = current()
        if trace is None:
            from troupe.call import call

            return call(self, args, kwargs)
        with trace.module(self) as path:
            result = self.forward(*args, **kwargs)
        trace.module_outputs[path] = result
        return result

    def register_buffer(self, name: str, value: Any, persistent: bool = True) -> None:
        """A tensor beside the parameters that no optimizer trains: an array, a Parameter with requires_grad=False, or
        None.

        It is an attribute, and part of the state dict if `persistent`. Used like a tensor; what a training step does to
        it says the layer that has it (`BatchNorm2d`).
        """
        if value is not None and not isinstance(value, Parameter):
            value = Parameter(value, requires_grad=False)
        if value is not None and value.requires_grad:
            raise PlanError(f"buffer '{name}' is a parameter that is trained; give it requires_grad=False")
        self._parameters.pop(name, None)
        self._modules.pop(name, None)
        self.__dict__.pop(name, None)
        self._buffers[name] = value
        self._not_saved.discard(name)
        if not persistent:
            self._not_saved.add(name)
        if value is not None and value._owner is None:
            value._owner = (weakref.ref(self), name)

    def __setattr__(self, name: str, value: Any) -> None:
        if name in self.__dict__.get("_buffers", {}) and not isinstance(value, Module):
            self.register_buffer(name, value, name not in self._not_saved)
            return
        if (
            isinstance(value, (Parameter, Module))
            or name in self.__dict__.get("_parameters", {})
            or name in self.__dict__.get("_modules", {})
        ):
            if "_parameters" not in self.__dict__:
                raise AttributeError("call super().__init__() before assigning modules or parameters")
            self._parameters.pop(name, None)
            self._modules.pop(name, None)
            self._buffers.pop(name, None)
            self.__dict__.pop(name, None)
        if isinstance(value, Parameter):
            self._parameters[name] = value
        elif isinstance(value, Module):
            self._modules[name] = value
        else:
            object.__setattr__(self, name, value)
            return
        if value._owner is None:
            value._owner = (weakref.ref(self), name)

    def __getattr__(self, name: str) -> Any:
        for table in ("_parameters", "_buffers", "_modules"):
            entries = self.__dict__.get(table, {})
            if name in entries:
                return entries[name]
        raise AttributeError(f"{type(self).__name__} has no attribute {name!r}")

    def __delattr__(self, name: str) -> None:
        tables = (self._parameters, self._buffers, self._modules)
        table = next((table for table in tables if name in table), None)
        if table is None:
            object.__delattr__(self, name)
        else:
            del table[name]

    @property
    def path(self) -> str:
        """The dotted name under the outermost module that holds this one; "" for the outermost."""
        if self._owner is None or self._owner[0]() is None:
            return ""
        prefix = self._owner[0]().path
        return f"{prefix}.{self._owner[1]}" if prefix else self._owner[1]

    def named_children(self) -> Iterator[tuple[str, Module]]:
        """The modules right below this one, with their names."""
        yield from self._modules.items()

    def children(self) -> Iterator[Module]:
        """The modules right below this one."""
        yield from self._modules.values()

    def named_modules(self, prefix: str = "") -> Iterator[tuple[str, Module]]:
        """This module and all below it, each once, with dotted names."""
        yield from self._walk(prefix, set())

    def _walk(self, prefix: str, seen: set[int]) -> Iterator[tuple[str, Module]]:
        if id(self) in seen:
            return
        seen.add(id(self))
        yield prefix, self
        for name, child in self._modules.items():
            yield from child._walk(f"{prefix}.{name}" if prefix else name, seen)

    def modules(self) -> Iterator[Module]:
        """This module and all below it, each once."""
        for _, module in self.named_modules():
            yield module

    def named_parameters(self, prefix: str = "") -> Iterator[tuple[str, Parameter]]:
        """All parameters, each once, with dotted names. A shared parameter has the name it is met by first."""
        yield from self._named(lambda module: module._parameters, prefix)

    def named_buffers(self, prefix: str = "") -> Iterator[tuple[str, Parameter]]:
        """All buffers, each once, with dotted names."""
        yield from self._named(lambda module: module._buffers, prefix)

    def named_variables(self, prefix: str = "") -> Iterator[tuple[str, Parameter]]:
        """All that outlives a step: parameters, then buffers."""
        yield from self.named_parameters(prefix)
        yield from self.named_buffers(prefix)

    def _named(
        self, table: Callable[[Module], Mapping[str, Parameter | None]], prefix: str
    ) -> Iterator[tuple[str, Parameter]]:
        seen: set[int] = set()
        for path, module in self.named_modules(prefix):
            for name, variable in table(module).items():
                if variable is not None and id(variable) not in seen:
                    seen.add(id(variable))
                    yield (f"{path}.{name}" if path else name), variable

    def parameters(self) -> Iterator[Parameter]:
        """All parameters, each once."""
        for _, parameter in self.named_parameters():
            yield parameter

    def buffers(self) -> Iterator[Parameter]:
        """All buffers, each once."""
        for _, buffer in self.named_buffers():
            yield buffer

    def variables(self) -> Iterator[Parameter]:
        """All parameters, then all buffers, each once."""
        for _, variable in self.named_variables():
            yield variable

    def state_dict(self) -> dict[str, np.ndarray]:
        """The numbers of all parameters and persistent buffers by dotted name; a shared parameter under each of its
        names."""
        return {name: parameter.numpy() for name, parameter in self._state()}

    def _state(self, prefix: str = "") -> Iterator[tuple[str, Parameter]]:
        for name, parameter in self._parameters.items():
            yield prefix + name, parameter
        for name, buffer in self._buffers.items():
            if buffer is not None and name not in self._not_saved:
                yield prefix + name, buffer
        for name, child in self._modules.items():
            yield from child._state(f"{prefix}{name}.")

    def load_state_dict(self, state: Mapping[str, Any], strict: bool = True) -> tuple[list[str], list[str]]:
        """Takes the numbers of a state dict; returns (missing names, unexpected names).

        Raises PlanError, and changes nothing, when a shape or dtype kind differs or, if `strict`, when a name is
        missing or unexpected.
        """
        own = dict(self._state())
        missing = [name for name in own if name not in state]
        unexpected = [name for name in state if name not in own]
        if strict and (missing or unexpected):
            lists = [
                f"missing: {', '.join(missing)}" if missing else "",
                f"unexpected: {', '.join(unexpected)}" if unexpected else "",
            ]
            raise PlanError(
                f"the state dict does not fit {type(self).__name__}: {'; '.join(filter(None, lists))}"
            )
        arrays = {name: np.asarray(state[name]) for name in own if name in state}
        for name, array in arrays.items():
            if array.shape != own[name].shape:
                raise PlanError(
                    f"the state dict does not fit {type(self).__name__}: '{name}' has shape "
                    f"{list(array.shape)}, the model has {list(own[name].shape)}"
                )
        for name, array in arrays.items():
            own[name].copy_(array)
        return missing, unexpected

    def train(self: Self, mode: bool = True) -> Self:
        """Training behaviour (dropout, statistics of a batch norm) on, or off, here and below."""
        for module in self.modules():
            object.__setattr__(module, "training", mode)
        return self

    def eval(self: Self) -> Self:
        """Training behaviour (dropout) off, here and below."""
        return self.train(False)

    def apply(self: Self, function: Callable[[Module], Any]) -> Self:
        """Calls `function` with every module, children first."""
        for child in self.children():
            child.apply(function)
        function(self)
        return self

    def requires_grad_(self: Self, requires_grad: bool = True) -> Self:
        """All parameters are trained, or none."""
        for parameter in self.parameters():
            parameter.requires_grad = requires_grad
        return self

    def session(self) -> Session | None:
        """The session that holds this module's parameters; None while they are on the host."""
        return next((p.session for p in self.variables() if p.session is not None), None)

    def extra_repr(self) -> str:
        """What `repr` shows in the parentheses of a module without children."""
        return ""

    def __repr__(self) -> str:
        lines = [f"  ({name}): " + repr(child).replace("\n", "\n  ") for name, child in self._modules.items()]
        inner = "\n" + "\n".join(lines) + "\n" if lines else self.extra_repr()
        return f"{type(self).__name__}({inner})"
