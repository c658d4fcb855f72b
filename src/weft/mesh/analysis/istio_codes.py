"""Which findings of weft say what a message of Istio's analysis says.

docs/diagnostics.md has the whole list. Messages that are not here cannot occur, or are about kinds
that weft does not serve.
"""

from collections.abc import Mapping

EQUIVALENT: Mapping[str, tuple[str, ...]] = {
    "IST0002": ("WEFT2402",),
    "IST0101": (
        "WEFT2101", "WEFT2102", "WEFT2103", "WEFT2105", "WEFT2106", "WEFT2114", "WEFT2115",
    ),
    "IST0106": (
        "WEFT0103", "WEFT0105", "WEFT0106", "WEFT0107", "WEFT0108", "WEFT0109", "WEFT2301",
        "WEFT2302",
    ),
    "IST0107": ("WEFT2451",),
    "IST0108": ("WEFT2450",),
    "IST0109": ("WEFT2201",),
    "IST0110": ("WEFT2503",),
    "IST0111": ("WEFT2240",),
    "IST0112": ("WEFT2104",),
    "IST0116": ("WEFT2210",),
    "IST0118": ("WEFT2403",),
    "IST0125": ("WEFT2350",),
    "IST0127": ("WEFT2110", "WEFT2151"),
    "IST0128": ("WEFT2361", "WEFT2362"),
    "IST0129": ("WEFT2361", "WEFT2362"),
    "IST0130": ("WEFT2401", "WEFT2454", "WEFT2253"),
    "IST0131": ("WEFT2404",),
    "IST0132": ("WEFT2111", "WEFT2150"),
    "IST0133": ("WEFT2455", "WEFT2313"),
    "IST0134": ("WEFT2351",),
    "IST0135": ("WEFT2452",),
    "IST0136": ("WEFT2453",),
    "IST0138": ("WEFT2250",),
    "IST0140": ("WEFT2257",),
    "IST0145": ("WEFT2205", "WEFT2206", "WEFT2211"),
    "IST0146": ("WEFT2352",),
    "IST0147": ("WEFT2352",),
    "IST0149": ("WEFT2353",),
    "IST0150": ("WEFT2359",),
    "IST0151": ("WEFT2504",),
    "IST0152": ("WEFT2505",),
    "IST0153": ("WEFT2505",),
    "IST0154": ("WEFT2505",),
    "IST0157": ("WEFT2852",),
    "IST0159": ("WEFT2507",),
    "IST0160": ("WEFT2508",),
    "IST0161": ("WEFT2106", "WEFT2107", "WEFT2117", "WEFT2354"),
    "IST0171": ("WEFT2160", "WEFT2166", "WEFT2167", "WEFT2256"),
    "IST0173": ("WEFT2109",),
    "IST0174": ("WEFT2108",),
    "IST0177": ("WEFT2251",),
}  # fmt: skip
