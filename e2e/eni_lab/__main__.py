"""``python -m eni_lab``."""

import sys

from eni_lab.cli import main

sys.exit(main())
