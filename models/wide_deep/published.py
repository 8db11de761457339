"""Wide & Deep at the size of published data sets.

criteo-1tb: the 26 categorical fields and 13 numbers of Criteo's terabyte of click logs, values hashed to at most 40
million rows a field as the MLPerf benchmark counts them; embeddings of 128 numbers, and the MLP of Cheng et al. 2016.
criteo-kaggle: the same fields of Criteo's Kaggle challenge, with embeddings of 32 numbers as in Cheng et al. 2016.
"""

from __future__ import annotations

from models.wide_deep.layouts import column_tables, row_tables
from models.wide_deep.model import Configuration, WideDeep
from troupe.batch import Field
from troupe.functional import binary_cross_entropy_with_logits
from troupe.published import Published

# fmt: off
TERABYTE = (39884406, 39043, 17289, 7420, 20263, 3, 7120, 1543, 63, 38532951, 2953546, 403346, 10, 2208, 11938, 155,
            4, 976, 14, 39979771, 25641295, 39664984, 585935, 12972, 108, 36)
KAGGLE = (1460, 583, 10131227, 2202608, 305, 24, 12517, 633, 3, 93145, 5683, 8351593, 3194, 27, 14992, 5461306, 10,
          5652, 2173, 4, 7046547, 18, 15, 286181, 105, 142572)
PUBLISHED = {
    "wide-deep-criteo-1tb": Configuration(TERABYTE, numeric=13, crosses=26, cross_rows=100_000_000, dim=128),
    "wide-deep-criteo-kaggle": Configuration(KAGGLE, numeric=13, crosses=26, cross_rows=10_000_000, dim=32),
}
# fmt: on


def make(name: str) -> Published:
    """The model, not yet initialised, and what it is trained on."""
    c = PUBLISHED[name]
    return Published(
        WideDeep(c),
        {
            "ids": Field("i32", (len(c.rows),)),
            "numbers": Field("f32", (c.numeric,)),
            "crosses": Field("i32", (c.crosses,)),
            "clicked": Field("f32", ()),
        },
        lambda m, b: binary_cross_entropy_with_logits(m(b["ids"], b["numbers"], b["crosses"]), b["clicked"]),
        recipes={"row_tables": row_tables, "column_tables": column_tables},
    )
