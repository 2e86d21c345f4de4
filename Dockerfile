# One image, three programs: eni-operator, eni-agent and the static eni-cni that the agent's init container installs.
FROM python:3.11-slim AS base
RUN apt-get update \
 && apt-get install -y --no-install-recommends libnftables1 \
 && rm -rf /var/lib/apt/lists/* /var/cache/apt/*
# Without docstrings a daemon is smaller. The standard library brings no code compiled so, and a daemon cannot write it.
ENV PYTHONOPTIMIZE=2
RUN python3 -m compileall -q -o 2 "$(python3 -c 'import sysconfig; print(sysconfig.get_path("stdlib"))')"

# All that changes only with the requirements. Its /opt/eni goes into the image as it is.
FROM base AS dependencies
RUN apt-get update \
 && apt-get install -y --no-install-recommends gcc libc6-dev musl-tools python3-venv \
 && rm -rf /var/lib/apt/lists/* /var/cache/apt/*
COPY requirements/build.txt requirements/image.txt /src/requirements/
RUN python3 -m venv /opt/build && /opt/build/bin/pip install --no-cache-dir --require-hashes -r /src/requirements/build.txt
RUN python3 -m venv /opt/eni && /opt/eni/bin/pip install --no-cache-dir --require-hashes -r /src/requirements/image.txt \
 && /opt/eni/bin/python -m compileall -q -o 2 /opt/eni/lib

FROM dependencies AS build
COPY pyproject.toml README.md /src/
COPY crds /src/crds
COPY operator /src/operator
COPY node_agent /src/node_agent
COPY cni_shim /src/cni_shim
# Into a tree of its own, so that a release changes one small layer and the dependencies' stays as it is.
RUN mkdir -p /src/e2e /out/opt/eni/bin \
 && musl-gcc -Os -static -Wall -Wextra -o /out/opt/eni/bin/eni-cni /src/cni_shim/forwarder.c \
 && /opt/build/bin/pip wheel --no-deps --no-build-isolation --wheel-dir /src/dist /src \
 && /opt/eni/bin/pip install --no-deps --no-compile --prefix /out/opt/eni /src/dist/*.whl \
 && PYTHONPATH=/src/operator /opt/eni/bin/python -m eni_operator.ec2.model /out/opt/eni/share/aws \
 && /opt/eni/bin/python -m compileall -q -o 2 -s /out -p / /out/opt/eni/lib

FROM base
COPY --from=dependencies /opt/eni /opt/eni
COPY --from=build /out/ /
ENV PATH=/opt/eni/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin PYTHONUNBUFFERED=1 AWS_DATA_PATH=/opt/eni/share/aws
# One heap, which shrinks again: left to itself glibc moves this limit (its default, 128 KiB) to twice the largest block
# ever freed, and a daemon keeps for good what one list of pods took (mallopt(3), M_TRIM_THRESHOLD).
ENV MALLOC_ARENA_MAX=1 MALLOC_TRIM_THRESHOLD_=131072
CMD ["eni-agent", "run"]
