"""Which address belongs to which sandbox. Pure but for the journal; knows no kernel, no API server, no CNI."""
