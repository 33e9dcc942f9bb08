"""What people call licences, as SPDX expressions.

Names are compared after :func:`key`; nothing is guessed. A name that may mean several licences
("BSD License", "GPL-compatible", "Artistic License") is not here and stays a name.
Sources: the SPDX licence list, the trove classifiers of the Python package index, the licence
tags of Hugging Face model cards.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

_NOISE = re.compile(r"\b(the|licen[cs]e[ds]?|version|osi approved)\b|[\s,_\"'()/]+")
_NUMBER = re.compile(r"\bv(?=\d)")


def key(name: str) -> str:
    """A name without what makes no difference: case, punctuation, "License", "version", "the"."""
    return " ".join(_NOISE.sub(" ", _NUMBER.sub("", name.casefold())).split())


_NAMES: Mapping[str, str] = {
    "0BSD": "zero-clause bsd | bsd zero clause | 0bsd",
    "AFL-3.0": "academic free 3.0 | afl 3.0",
    "AGPL-3.0-only": (
        "gnu affero general public 3 | gnu agpl 3 | agplv3 | agpl3 | agpl 3 | agpl 3.0"
    ),
    "AGPL-3.0-or-later": (
        "gnu affero general public 3 or later agplv3+ | gnu affero general public 3 or later | "
        "agpl3+ | agplv3+ | agpl 3+"
    ),
    "Apache-2.0": (
        "apache 2 | apache 2.0 | apache2 | apache2.0 | apache-2 | apache software | apache "
        "software 2 | apache software 2.0 | asl 2.0 | al-2.0 | http: www.apache.org 2.0 | "
        "https: www.apache.org licenses -2.0"
    ),
    "BSD-2-Clause": (
        "bsd 2-clause | bsd 2 clause | 2-clause bsd | 2 clause bsd | simplified bsd | freebsd | "
        "bsd-2"
    ),
    "BSD-3-Clause": (
        "bsd 3-clause | bsd 3 clause | 3-clause bsd | 3 clause bsd | new bsd | modified bsd | "
        "revised bsd | bsd-3 | bsd 3-clause new or revised | bsd new | bsd3"
    ),
    "BSL-1.0": "boost software 1.0 bsl-1.0 | boost software 1.0",
    "BlueOak-1.0.0": "blue oak model blueoak-1.0.0",
    "CC0-1.0": "cc0 | cc0 1.0 universal cc0 1.0 public domain dedication | cc0 1.0 universal",
    "CC-BY-4.0": "cc by 4.0 | creative commons attribution 4.0 international",
    "CC-BY-NC-4.0": "cc by-nc 4.0 | cc by nc 4.0 | creative commons attribution-noncommercial 4.0",
    "CC-BY-SA-4.0": "cc by-sa 4.0 | cc by sa 4.0",
    "CDDL-1.0": "common development and distribution 1.0 cddl-1.0",
    "CNRI-Python": "cnri python",
    "EPL-1.0": "eclipse public 1.0 epl-1.0 | eclipse public 1.0",
    "EPL-2.0": "eclipse public 2.0 epl-2.0 | eclipse public 2.0",
    "EUPL-1.1": "european union public 1.1 eupl 1.1",
    "EUPL-1.2": "european union public 1.2 eupl 1.2",
    "GPL-1.0-or-later": "gnu general public gpl",
    "GPL-2.0-only": "gnu general public 2 gplv2 | gnu general public 2 gpl2 | gplv2 | gpl2 | gpl 2",
    "GPL-2.0-or-later": (
        "gnu general public 2 or later gplv2+ | gnu general public 2 or later gpl2+ | gpl2+ | "
        "gplv2+"
    ),
    "GPL-3.0-only": (
        "gnu general public 3 gplv3 | gnu general public 3 gpl3 | gplv3 | gpl3 | gpl 3 | gnu gpl 3"
    ),
    "GPL-3.0-or-later": (
        "gnu general public 3 or later gplv3+ | gnu general public 3 or later gpl3+ | gpl3+ | "
        "gplv3+"
    ),
    "HPND": "historical permission notice and disclaimer hpnd",
    "ISC": "isc | isc iscl",
    "LGPL-2.0-or-later": (
        "gnu lesser general public lgpl | gnu library or lesser general public lgpl | lgpl | "
        "gnu lesser general public 2 or later lgplv2+ | gnu lesser general public 2 or later "
        "lgpl2+"
    ),
    "LGPL-2.0-only": "gnu lesser general public 2 lgplv2 | lgplv2 | lgpl2",
    "LGPL-2.1-only": "lgplv2.1 | lgpl2.1 | lgpl 2.1 | gnu lgpl 2.1",
    "LGPL-2.1-or-later": "lgpl2.1+ | lgplv2.1+ | gnu lgpl 2.1 or later",
    "LGPL-3.0-only": (
        "gnu lesser general public 3 lgplv3 | gnu lesser general public 3 lgpl3 | lgplv3 | "
        "lgpl3 | lgpl 3 | lgpl 3.0"
    ),
    "LGPL-3.0-or-later": (
        "gnu lesser general public 3 or later lgplv3+ | gnu lesser general public 3 or later "
        "lgpl3+ | lgpl3+ | lgplv3+ | lgpl 3.0+"
    ),
    "MIT": "mit | expat | mit expat | https: opensource.org licenses mit",
    "MIT-0": "mit no attribution mit-0 | mit no attribution",
    "MIT-CMU": "hpnd-like cmu | cmu mit-cmu",
    "MPL-1.1": "mozilla public 1.1 mpl 1.1 | mpl 1.1",
    "MPL-2.0": "mozilla public 2.0 mpl 2.0 | mozilla public 2.0 | mpl 2 | mpl 2.0 | mpl2",
    "MulanPSL-2.0": "mulan permissive software 2 mulanpsl-2.0",
    "NCSA": "university of illinois ncsa open source",
    "PSF-2.0": "python software foundation | psf | psfl | psf 2.0",
    "PostgreSQL": "postgresql",
    "UPL-1.0": "universal permissive upl",
    "Unlicense": "unlicense | unlicense unlicense",
    "W3C": "w3c",
    "WTFPL": "wtfpl",
    "ZPL-2.1": "zpl 2.1 | zope public 2.1",
    "Zlib": "zlib libpng | zlib",
    # Hugging Face tags of licences that are on no SPDX list.
    "LicenseRef-llama2": "llama2 | llama 2 community",
    "LicenseRef-llama3": "llama3 | llama 3 community",
    "LicenseRef-llama3.1": "llama3.1 | llama 3.1 community",
    "LicenseRef-llama3.2": "llama3.2 | llama 3.2 community",
    "LicenseRef-llama3.3": "llama3.3 | llama 3.3 community",
    "LicenseRef-llama4": "llama4 | llama 4 community",
    "LicenseRef-gemma": "gemma | gemma terms of use",
    "LicenseRef-openrail": "openrail",
    "LicenseRef-openrail-pp": "openrail++",
    "LicenseRef-creativeml-openrail-m": "creativeml-openrail-m",
    "LicenseRef-bigscience-openrail-m": "bigscience-openrail-m",
    "LicenseRef-bigscience-bloom-rail-1.0": "bigscience-bloom-rail-1.0",
    "LicenseRef-bigcode-openrail-m": "bigcode-openrail-m",
}
"""Names by SPDX expression, separated by bars."""

EXPRESSIONS: Mapping[str, str] = {
    key(name): expression for expression, names in _NAMES.items() for name in names.split("|")
}
"""SPDX expression by :func:`key` of a name."""

SILENCE = frozenset({"", "noassertion", "unknown", "other", "see file", "n a", "none given"})
"""Keys of what people write who say nothing."""
