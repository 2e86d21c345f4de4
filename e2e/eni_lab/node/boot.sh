#!/bin/sh
# First process of a node: gives it a root, /proc, /sys, /run and cgroups of its own, then only waits as `pause`.
#   boot.sh NAME DISK SHARED... -- PAUSE     in new mount, pid, net, uts, ipc and cgroup namespaces
# The root is the machine's, copy on write, so that every hostPath of a DaemonSet is the node's own. What a real
# node keeps over a reboot (DISK: /var/lib, /var/log, /opt/cni, /etc/cni) is bound from there; the rest is forgotten.
# SHARED: directories seen as they are (binaries, keys): a file made below `/` after the overlay's mount may not show.
set -eu
name=$1 disk=$2
shift 2
mount --make-rprivate /
hostname "$name"
fs=$disk/fs root=$disk/fs/root
mkdir -p "$fs"
mount -t tmpfs -o mode=755 node "$fs" # an overlay's upper directory may not lie below its lower one
mkdir "$fs/upper" "$fs/work" "$root"
mount -t overlay overlay -o "lowerdir=/,upperdir=$fs/upper,workdir=$fs/work" "$root"
mount --rbind /dev "$root/dev"
mount -t proc proc "$root/proc"
mount -t sysfs sysfs "$root/sys" # a new one shows the devices of this network namespace
mount -t tmpfs -o mode=755 run "$root/run"

if [ -e /sys/fs/cgroup/cgroup.controllers ]; then # version 2
  mount -t cgroup2 cgroup2 "$root/sys/fs/cgroup"
  # the node's own processes are in init/, so its root may hand controllers down to kubepods/
  sed 's/\([a-z_]*\)/+\1/g' "$root/sys/fs/cgroup/cgroup.controllers" > "$root/sys/fs/cgroup/cgroup.subtree_control"
else # version 1: every hierarchy again, seen from this cgroup namespace
  mount -t tmpfs -o mode=755 cgroup "$root/sys/fs/cgroup"
  for controller in $(cd /sys/fs/cgroup && ls); do
    mkdir "$root/sys/fs/cgroup/$controller"
    case $controller in
      unified) mount -t cgroup2 cgroup2 "$root/sys/fs/cgroup/unified" ;;
      systemd) mount -t cgroup -o none,name=systemd cgroup "$root/sys/fs/cgroup/systemd" ;;
      *) mount -t cgroup -o "$controller" cgroup "$root/sys/fs/cgroup/$controller" ;;
    esac
  done
fi

for path in var/lib var/log opt/cni etc/cni; do
  mkdir -p "$disk/$path" "$root/$path"
  mount --bind "$disk/$path" "$root/$path"
done
while [ "$1" != -- ]; do
  mkdir -p "$root$1"
  mount --bind "$1" "$root$1"
  shift
done
shift

rm -f "$root/etc/resolv.conf" "$root/etc/machine-id"
echo "nameserver 127.0.0.1" > "$root/etc/resolv.conf"
printf '%s' "$name" | md5sum | cut -c1-32 > "$root/etc/machine-id"
# another boot for the kubelet; a container mounts its own /proc and sees the machine's
cp /proc/sys/kernel/random/uuid "$fs/boot_id"
mount --bind "$fs/boot_id" "$root/proc/sys/kernel/random/boot_id"
mkdir -p "$root/opt/cni/bin" "$root/etc/cni/net.d" "$root/run/containerd" "$root/run/netns"
cd "$root"
pivot_root . .
umount -l .
cd /
mount --make-rshared / # Bidirectional mount propagation needs a shared root
ip link set lo up
sysctl -qw net.ipv4.ip_forward=1
exec "$@"
