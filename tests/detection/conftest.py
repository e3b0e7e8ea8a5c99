from __future__ import annotations

import numpy as np
import pytest
from skimage import data


@pytest.fixture(scope="session")
def astronaut() -> np.ndarray:
    """A portrait in the public domain, 512x512, in BGR order: one bare face."""
    return np.ascontiguousarray(data.astronaut()[..., ::-1])
