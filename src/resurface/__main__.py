"""`python -m resurface`, also what `accelerate launch -m resurface` starts."""

import sys

from resurface.cli import main

sys.exit(main())
