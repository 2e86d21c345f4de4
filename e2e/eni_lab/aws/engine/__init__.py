"""The pure part of the stand-in AWS: a synchronous state machine of one Region, with clock and randomness injected."""
