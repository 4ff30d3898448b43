"""A shard: one of several parts of a job, each of which runs by itself with its share of the limits."""

from __future__ import annotations

import re
from decimal import Decimal
from fractions import Fraction
from pathlib import Path

from msgspec import Struct

from pipeline.config.models import JobConfig, LimitsConfig

_GIVEN = re.compile(r"([1-9]\d{0,4})/([1-9]\d{0,4})")
_NAME = re.compile(r"shard-([1-9]\d{0,4})-of-([1-9]\d{0,4})")
_ONE = Decimal(1)
_USD_UNIT = Decimal(10) ** -12
RATES = ("requests_per_minute", "tokens_per_minute")
CAPS = ("max_cost_usd", "max_run_cost_usd")


class Shard(Struct, frozen=True):
    """Shard `number` of `count`, from 1."""

    number: int
    count: int

    @classmethod
    def parse(cls, text: str) -> Shard | None:
        """Return the shard that `I/N` means; None if it means none."""
        return cls._of(_GIVEN.fullmatch(text.strip()))

    @classmethod
    def named(cls, name: str) -> Shard | None:
        """Return the shard that has its checkpoint in a directory of this name; None if it is no shard's."""
        return cls._of(_NAME.fullmatch(name))

    @classmethod
    def _of(cls, found: re.Match[str] | None) -> Shard | None:
        if found is None or int(found[1]) > int(found[2]):
            return None
        return cls(int(found[1]), int(found[2]))

    def __str__(self) -> str:
        return f"{self.number}/{self.count}"

    @property
    def name(self) -> str:
        """The name of its checkpoint's directory."""
        return f"shard-{self.number}-of-{self.count}"

    def output(self, whole: str) -> str:
        """Return the path of its output, given that of the whole job."""
        if whole.endswith("/"):
            return f"{whole.rstrip('/')}.{self.name}/"
        return f"{whole.removesuffix('.parquet')}.{self.name}.parquet"

    def share(self, whole: Decimal, unit: Decimal) -> Decimal:
        """Return its share of an amount, in whole units; what does not divide goes to the first shards."""
        each, left = divmod(int(Fraction(whole) / Fraction(unit)), self.count)
        return (each + (self.number <= left)) * unit

    def limits(self, whole: LimitsConfig) -> LimitsConfig:
        """Return its share of the rates and of the caps. The shares of all shards add up to the whole exactly.

        A rate is divided in whole requests and tokens if it is a whole number, else in units of its last decimal.
        """
        shares: dict[str, float | Decimal] = {}
        for name in RATES:
            if (rate := getattr(whole, name)) is not None:
                exact = Decimal(repr(rate))
                shares[name] = float(self.share(exact, min(_ONE, _last_decimal(exact))))
        for name in CAPS:
            if (cap := getattr(whole, name)) is not None:
                shares[name] = self.share(cap, min(_USD_UNIT, _last_decimal(cap)))
        return whole.model_copy(update=shares)

    def config(self, whole: JobConfig, checkpoint: str) -> JobConfig:
        """Return the configuration that it runs with. `checkpoint` is the checkpoint's path of the whole job."""
        backup = whole.checkpoint.backup
        own = {
            "path": str(Path(checkpoint) / self.name),
            "backup": None if backup is None else f"{backup.rstrip('/')}/{self.name}",
        }
        update = {
            "limits": self.limits(whole.limits),
            "checkpoint": whole.checkpoint.model_copy(update=own),
            "output": whole.output.model_copy(update={"path": self.output(whole.output.path)}),
        }
        return whole.model_copy(update=update)


def _last_decimal(amount: Decimal) -> Decimal:
    exponent = amount.normalize().as_tuple().exponent
    assert isinstance(exponent, int)  # neither infinite nor NaN
    return Decimal(10) ** exponent
