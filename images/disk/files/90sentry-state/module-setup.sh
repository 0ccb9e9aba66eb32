#!/bin/bash
# A dracut module: the state partitions and /etc, before systemd of the real root starts.

check() {
    return 0
}

depends() {
    echo systemd
}

installkernel() {
    instmods overlay ext4 erofs dm-verity squashfs \
        virtio_blk virtio_scsi virtio_pci nvme ahci sd_mod \
        hv_vmbus hv_storvsc vmw_pvscsi mptspi ena
}

install() {
    inst_multiple basename cat chmod chown cp dirname e2fsck mkdir mkfs.ext4 mke2fs mount readlink systemd-repart udevadm
    inst_multiple -o /usr/lib/systemd/systemd-growfs
    inst_simple /etc/mke2fs.conf
    # shellcheck disable=SC2154  # dracut sets them
    inst_simple "$moddir/sentry-state" /usr/bin/sentry-state
    # shellcheck disable=SC2154
    inst_simple "$moddir/sentry-state.service" "$systemdsystemunitdir/sentry-state.service"
    # shellcheck disable=SC2154
    $SYSTEMCTL --quiet --root "$initdir" enable sentry-state.service
}
