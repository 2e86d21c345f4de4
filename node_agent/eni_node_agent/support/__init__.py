"""``eni-agent support-bundle``: the archive one attaches to a bug report, secrets left out."""
