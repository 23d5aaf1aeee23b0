# SPDX-License-Identifier: Apache-2.0
"""What frameworks' operators must know before the library is asked."""

BY_RANK = {2: "nf", 3: "nct", 4: "nchw", 5: "ncdhw"}
SPATIAL = {"nf": "f", "nct": "t", "nchw": "hw", "nhwc": "hw", "ntchw": "hw", "ncdhw": "dhw"}
ROW_WORDS = 11  #: int32: partner, outside, inside, label, flip, lo[3], hi[3]
