#!/bin/sh
# jsonschema 4.26.0: one price with two decimals in seven is no multiple of 0.01.
#
# The standard asks whether the division gives an integer (json-schema.org/draft/2020-12/json-schema-validation,
# 6.2.1). jsonschema divides in binary floats, so 19.99 / 0.01 is 1998.9999999999998. jsonschema-rs and fastjsonschema
# take all of these prices.
#
# For a batch: a right answer is refused, and is bought again until the attempts are used up.
#
#> of the 10000 prices from 0.00 to 99.99, multiples of 0.01:
#> jsonschema 4.26.0: 8637
#> jsonschema-rs 0.61.2: 10000
#> fastjsonschema 2.22.3: 10000
#> jsonschema: 19.99 is not a multiple of 0.01
. "$(dirname "$0")/support/check.sh"
install jsonschema==4.26.0 jsonschema-rs==0.61.2 fastjsonschema==2.22.3
check <<'EOF'
from importlib.metadata import version

import fastjsonschema
import jsonschema_rs
from jsonschema import Draft202012Validator

SCHEMA = {"type": "number", "multipleOf": 0.01}
compiled = fastjsonschema.compile(SCHEMA)


def by_fastjsonschema(price: float) -> bool:
    try:
        compiled(price)
    except fastjsonschema.JsonSchemaException:
        return False
    return True


prices = [float(f"{cents // 100}.{cents % 100:02}") for cents in range(10_000)]
print("of the 10000 prices from 0.00 to 99.99, multiples of 0.01:")
for package, is_valid in (
    ("jsonschema", Draft202012Validator(SCHEMA).is_valid),
    ("jsonschema-rs", jsonschema_rs.validator_for(SCHEMA).is_valid),
    ("fastjsonschema", by_fastjsonschema),
):
    print(f"{package} {version(package)}:", sum(map(is_valid, prices)))
print("jsonschema:", next(Draft202012Validator(SCHEMA).iter_errors(19.99)).message)
EOF
