# One image, three programs: eni-operator, eni-agent and the static eni-cni that the agent's init container installs.
FROM python:3.11-slim AS dependencies
RUN apt-get update \
 && apt-get install -y --no-install-recommends gcc libc6-dev libnftables1 python3-venv \
 && rm -rf /var/lib/apt/lists/* /var/cache/apt/*
COPY requirements/image.txt /src/requirements/image.txt
RUN python3 -m venv /opt/eni && /opt/eni/bin/pip install --no-cache-dir --require-hashes -r /src/requirements/image.txt

FROM dependencies
COPY pyproject.toml README.md /src/
COPY crds /src/crds
COPY operator /src/operator
COPY node_agent /src/node_agent
COPY cni_shim /src/cni_shim
RUN mkdir -p /src/e2e \
 && gcc -Os -static -Wall -Wextra -o /opt/eni/bin/eni-cni /src/cni_shim/forwarder.c \
 && /opt/eni/bin/pip install --no-cache-dir --no-deps --no-build-isolation /src
ENV PATH=/opt/eni/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin PYTHONUNBUFFERED=1
CMD ["eni-agent", "run"]
