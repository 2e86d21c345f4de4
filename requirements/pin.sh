#!/bin/sh
# Pins every dependency with its hashes; the files name no index. Needs uv (pip install uv).
set -eu
pin() { uv pip compile --quiet --no-header --generate-hashes --python-version 3.11 "$@"; }
echo 'hatchling>=1.27,<2' | pin - -o requirements/build.txt
pin --extra operator --extra agent pyproject.toml -o requirements/image.txt
pin --extra operator --extra agent --extra lab --group dev pyproject.toml -o requirements/dev.txt
