#!/bin/sh
# System packages of the tests and the laboratory: installed with apt as root on Debian and Ubuntu, named elsewhere.
set -eu
packages="buildah busybox-static containerd containernetworking-plugins conntrack debootstrap ethtool gcc iproute2
iptables iputils-ping libc6-dev libnftables1 make musl-tools nftables openssl podman procps python3-venv runc util-linux"
missing=
if command -v dpkg-query >/dev/null; then
  for package in $packages; do
    [ "$(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null)" = installed ] || missing="$missing $package"
  done
else
  for program in buildah containerd runc gcc musl-gcc ip nft openssl; do
    command -v "$program" >/dev/null || missing="$missing $program"
  done
fi
[ -n "$missing" ] || exit 0
if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
  echo "installing:$missing"
  apt-get update -qq
  # shellcheck disable=SC2086
  DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $missing >/dev/null
else
  echo "missing system packages:$missing; install them, or run make deps as root on Debian or Ubuntu" >&2
  exit 1
fi
