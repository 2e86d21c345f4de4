"""What holds for every test: an example that is slow for once, on a machine with other work, breaks no law."""

from hypothesis import settings

settings.register_profile("suite", deadline=None)  # pytest's own time limit ends what hangs
settings.load_profile("suite")
