# Executed in new namespaces: makes the machine's file system safe to boot on, and becomes systemd.
# Arguments: directories that must stay as they are although they are below one that is replaced.
set -eu
mount --make-rprivate /

# What is below a mount can still be reached through a descriptor that was opened before.
descriptors=()
for directory in "$@"; do
    exec {descriptor}<"$directory"
    descriptors+=("$descriptor")
done

for directory in /run /tmp /var; do mount -t tmpfs tmpfs "$directory"; done
chmod 1777 /tmp
mkdir -p /run/lock /var/lib /var/log /var/cache /var/tmp
ln -s /run /var/run

# A copy of /etc that enables and mounts nothing. The id keeps systemd from taking this for a first boot.
cp -a /etc /run/etc
mount --bind /run/etc /etc
rm -rf /etc/systemd/system /etc/systemd/user /etc/machine-id
mkdir -p /etc/systemd/system /etc/systemd/user
: >/etc/fstab
echo 5d9a2d6c0c6c4f0c9b6a3f1f2e7d8c9b >/etc/machine-id
printf '[Journal]\nReadKMsg=no\nAudit=no\nStorage=volatile\n' >/etc/systemd/journald.conf
for unit in systemd-remount-fs.service systemd-journald-audit.socket systemd-journald-dev-log.socket; do
    ln -s /dev/null "/etc/systemd/system/$unit"
done

# Of all that starts at boot only the journal is left: nothing that would touch kernel settings or devices.
for target in sysinit sockets timers local-fs basic multi-user; do
    wants=/lib/systemd/system/$target.target.wants
    if [ -d "$wants" ]; then mount -t tmpfs tmpfs "$wants"; fi
done
ln -s ../systemd-journald.service /lib/systemd/system/sysinit.target.wants/

index=0
for directory in "$@"; do
    mkdir -p "$directory"
    mount --no-canonicalize --bind "/proc/self/fd/${descriptors[$index]}" "$directory"
    exec {descriptors[$index]}<&-
    index=$((index + 1))
done

mount --bind /proc/sys /proc/sys
mount -o remount,bind,ro /proc/sys
mount -t cgroup2 cgroup2 /sys/fs/cgroup
exec env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin container=docker NOTIFY_SOCKET="$NOTIFY_SOCKET" \
    /lib/systemd/systemd --system --unit=basic.target --show-status=no --log-target=journal
