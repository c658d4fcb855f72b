"""Kubernetes quantities ("250m", "1Gi") as exact numbers. Source: resource.Quantity."""

import re
from decimal import ROUND_UP, Decimal, InvalidOperation

_SUFFIXES = {
    "": Decimal(1), "n": Decimal("1e-9"), "u": Decimal("1e-6"), "m": Decimal("1e-3"),
    "k": Decimal(10**3), "M": Decimal(10**6), "G": Decimal(10**9), "T": Decimal(10**12),
    "P": Decimal(10**15), "E": Decimal(10**18), "Ki": Decimal(2**10), "Mi": Decimal(2**20),
    "Gi": Decimal(2**30), "Ti": Decimal(2**40), "Pi": Decimal(2**50), "Ei": Decimal(2**60),
}  # fmt: skip
_PATTERN = re.compile(r"^([+-]?[0-9.]+(?:[eE][+-]?[0-9]+)?)([a-zA-Z]*)$")


AMOUNT_MAX = Decimal(2**63 - 1)
AMOUNT_MIN = Decimal("1e-9")
"""Larger amounts count as the one, smaller as the other, as in Kubernetes."""
_DIGITS_FAR = 40
"""So many before or after the point are beyond both, whatever the suffix."""


def parse_quantity(text: str | int | float) -> Decimal:
    """The value in base units (cores, bytes). Raises ValueError naming the text."""
    found = _PATTERN.match(str(text).strip())
    if not found or found[2] not in _SUFFIXES:
        raise ValueError(f"`{text}` is not a quantity (examples: 250m, 1.5, 128Mi)")
    try:
        number = Decimal(found[1])
    except InvalidOperation as error:
        raise ValueError(f"`{text}` is not a quantity (examples: 250m, 1.5, 128Mi)") from error
    return _bounded(number, _SUFFIXES[found[2]])


def _bounded(number: Decimal, factor: Decimal) -> Decimal:
    """Exponents are looked at before anybody computes with them: 1e999999999 has many digits."""
    if not number:
        return Decimal(0)
    if abs(number.adjusted()) > _DIGITS_FAR:
        amount = AMOUNT_MAX if number.adjusted() > 0 else AMOUNT_MIN
    else:
        amount = min(max(abs(number * factor), AMOUNT_MIN), AMOUNT_MAX)
    return amount.copy_sign(number)


_BINARY = ((60, "Ei"), (50, "Pi"), (40, "Ti"), (30, "Gi"), (20, "Mi"), (10, "Ki"))
_DECIMAL = ((18, "E"), (15, "P"), (12, "T"), (9, "G"), (6, "M"), (3, "k"))
_FRACTIONS = ((3, "m"), (6, "u"), (9, "n"))


def format_quantity(amount: Decimal, *, binary: bool = False) -> str:
    """The canonical text: the largest suffix that leaves a whole number. `binary` is for bytes;
    smaller parts than nano are rounded up."""
    if amount == amount.to_integral_value():
        number = int(amount)
        if binary:
            for power, suffix in _BINARY:
                if number and number % (1 << power) == 0:
                    return f"{number >> power}{suffix}"
            return str(number)
        for power, suffix in _DECIMAL:
            if number and number % 10**power == 0:
                return f"{number // 10**power}{suffix}"
        return str(number)
    for power, suffix in _FRACTIONS:
        scaled = amount.scaleb(power)
        if scaled == scaled.to_integral_value():
            return f"{int(scaled)}{suffix}"
    return f"{int(amount.scaleb(9).to_integral_value(ROUND_UP))}n"
