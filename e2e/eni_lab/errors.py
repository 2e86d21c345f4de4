"""What the laboratory tells a person when it cannot do what was asked."""


class LabError(Exception):
    """One sentence for the person at the terminal; the command line prints it and ends with status 1."""
