"""The disk: its layout as data, and the stages from a root tree to a raw disk, without a mount or a loop device."""
