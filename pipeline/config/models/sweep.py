"""`sweep`: settings that every row is asked under in turn."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any, get_type_hints

from msgspec import Struct
from pydantic import (
    Discriminator,
    Field,
    PlainSerializer,
    PrivateAttr,
    SerializerFunctionWrapHandler,
    Tag,
    ValidatorFunctionWrapHandler,
    WrapValidator,
    create_model,
    model_serializer,
    model_validator,
)

from pipeline.config.models.endpoint import EndpointConfig
from pipeline.config.models.parameters import ParametersConfig
from pipeline.config.models.prompt import PromptConfig
from pipeline.config.models.section import Section, read_value
from pipeline.config.models.values import LIST_TAG, NAMED_TAG, Text
from pipeline.records import json_text


class SweptValue(Struct, frozen=True):
    """One of the values that a setting takes. `text` is its name, or without one the value as the file writes it;
    `key` is its place in the list or mapping.
    """

    value: Any
    text: str
    key: int | str

    @property
    def is_named(self) -> bool:
        """Whether the job file gives it a name."""
        return isinstance(self.key, str)


def _written(value: object) -> str:
    if value is None:
        return "null"
    if isinstance(value, list | dict | bool):
        return json_text(value)
    return str(getattr(value, "text", value))


def _kind(given: object) -> str:
    return NAMED_TAG if isinstance(given, Mapping) else LIST_TAG


def _swept(annotation: Any) -> Any:
    """Return the type of a key of `sweep`: a list of what the setting may be, or such values by name."""

    def read(given: object, handler: ValidatorFunctionWrapHandler) -> tuple[SweptValue, ...]:
        if isinstance(given, Mapping):
            checked = handler({name: read_value(value, annotation) for name, value in given.items()})
            return tuple(SweptValue(value, name, name) for name, value in checked.items())
        if not isinstance(given, list | tuple):
            return tuple(handler(given))
        checked = handler(tuple(read_value(value, annotation) for value in given))
        pairs = enumerate(zip(checked, given, strict=True))
        return tuple(SweptValue(value, _written(raw), at) for at, (value, raw) in pairs)

    def write(values: tuple[SweptValue, ...] | None) -> Any:
        if values is None:
            return None
        plain = {one.key: _plain(one.value) for one in values}
        return plain if any(one.is_named for one in values) else list(plain.values())

    values = Annotated[
        Annotated[tuple[annotation, ...], Field(min_length=1), Tag(LIST_TAG)]
        | Annotated[dict[Text, annotation], Field(min_length=1), Tag(NAMED_TAG)],
        Discriminator(_kind),
    ]
    return Annotated[values | None, WrapValidator(read), PlainSerializer(write)]


class _Sweep(Section):
    """Settings that every row is asked under in turn: the cross product of these keys, in the order of the file."""

    _order: tuple[str, ...] = PrivateAttr(())

    @model_validator(mode="wrap")
    @classmethod
    def _keep_order(cls, given: Any, handler: ValidatorFunctionWrapHandler) -> Any:
        made = handler(given)
        made._order = tuple(given) if isinstance(given, Mapping) else given._order
        return made

    @model_serializer(mode="wrap")
    def _dump(self, handler: SerializerFunctionWrapHandler) -> Any:
        found = handler(self)
        return {key: found[key] for key, _ in self.settings}

    @property
    def settings(self) -> list[tuple[str, tuple[SweptValue, ...]]]:
        """Each swept key with its values, in the order of the file."""
        found = ((key, getattr(self, key)) for key in self._order)
        return [(key, values) for key, values in found if values is not None]


def _plain(value: Any) -> Any:
    if isinstance(value, tuple):
        return [_plain(one) for one in value]
    return value.model_dump() if isinstance(value, Section) else value


def _fields() -> dict[str, Any]:
    named: list[tuple[str, type[Section], str]] = [
        ("endpoint", EndpointConfig, "model"),
        ("endpoint", EndpointConfig, "extra_body"),
        ("prompt", PromptConfig, "system"),
        ("prompt", PromptConfig, "user"),
        ("prompt", PromptConfig, "examples"),
        *(("parameters", ParametersConfig, name) for name in ParametersConfig.model_fields),
    ]
    hints = {model: get_type_hints(model, include_extras=True) for model in {model for _, model, _ in named}}
    fields = {}
    for section, model, name in named:
        key = f"{section}.{name}"
        annotation = hints[model][name]
        description = f"Values for `{key}`: a list, or a mapping that names the variants."
        examples = [[one] for one in model.model_fields[name].examples or ()]
        fields[key] = (_swept(annotation), Field(default=None, description=description, examples=examples))
    return fields


if TYPE_CHECKING:
    SweepConfig = _Sweep
else:  # a field for each key, which no class statement can name
    SweepConfig = create_model("SweepConfig", __base__=_Sweep, __doc__=_Sweep.__doc__, **_fields())
