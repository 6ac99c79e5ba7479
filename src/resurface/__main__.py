"""`python -m resurface`, also what `accelerate launch -m resurface` starts."""

import sys

from resurface.trust.isolation import leave_working_directory

leave_working_directory()  # before anything else is imported

from resurface.cli.main import main  # noqa: E402

sys.exit(main())
