# Makes the engine's machine out of a privileged one: modules, the device nodes
# that came with them, and a disk with a file system that can carry overlays.
set -e
busybox=/usr/bin/busybox
for m in $(cat /input/modules/order); do
	$busybox insmod "/input/modules/$m.ko" 2>/dev/null || grep -q "^$m " /proc/modules || echo "no module $m"
done
mkdir -p /dev/net
node() { [ -e "$1" ] || mknod "$@"; }
node /dev/kvm c 10 232
chmod 0666 /dev/kvm # as udev has it
node /dev/net/tun c 10 200
node /dev/loop-control c 10 237
for i in 0 1 2 3 4 5 6 7; do node "/dev/loop$i" b 7 "$i"; done
truncate -s 3G /disk
mkfs.ext4 -q -E lazy_itable_init=1 /disk
mount -o loop /disk /work
chmod 0711 /work
