"""The operator's settings, read once from the environment and the command line.

Says what a variable means and what is wrong with it; reads no process state itself. VPC CNI's variables keep its
names, meaning and leniency (a bad value is as if not set, with a warning), save where VPC CNI itself refuses to start.
Ours (``ENI_…``) are strict: every problem is reported at once, and an unknown one is an error. The counterpart for
people is docs/settings.md; for one pool its NodeIPPool, which ``planning.precedence`` puts above all of this.
"""

from eni_operator.settings.parsing import Address
from eni_operator.settings.reader import SettingsError
from eni_operator.settings.settings import IMDS_ENDPOINT, METRICS_ADDRESS, SCOPES, Settings

__all__ = ["IMDS_ENDPOINT", "METRICS_ADDRESS", "SCOPES", "Address", "Settings", "SettingsError"]
