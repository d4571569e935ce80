"""What holds for all tests: how Hypothesis looks for examples."""

import os

from hypothesis import settings

# How fast an example runs says more about the machine than about the code.
settings.register_profile("here", deadline=None, print_blob=True)
# A change must not fail for an example that it has nothing to do with.
settings.register_profile("ci", settings.get_profile("here"), derandomize=True)
settings.load_profile("ci" if os.environ.get("CI") else "here")
