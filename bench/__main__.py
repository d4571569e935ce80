"""Measures everything that there is to measure, one after the other."""

import uvloop

from bench import first_token

if __name__ == "__main__":
    uvloop.run(first_token.main())
