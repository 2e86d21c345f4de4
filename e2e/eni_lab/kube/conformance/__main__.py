"""Entry of ``python -m eni_lab.kube.conformance``."""

import sys

from eni_lab.kube.conformance.command import main

sys.exit(main())
