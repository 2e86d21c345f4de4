"""Settings of the agent, read once from the environment. Pure: the caller brings the mapping.

Names AWS gave to VPC CNI's knobs keep their meaning and leniency (an unreadable value falls to its default, as there);
our own begin with ``ENI_`` and are strict. Policy of the pool is no setting: it comes with the supply.
"""

from eni_node_agent.settings.install import InstallSettings
from eni_node_agent.settings.reader import SettingsError, small_mtus
from eni_node_agent.settings.settings import Settings

__all__ = ["InstallSettings", "Settings", "SettingsError", "small_mtus"]
