"""What a backup and its passphrase may be, for those who need no cipher: the command line starts without one."""

PASSPHRASE_LEAST, PASSPHRASE_MOST = 15, 512  # V-250989; and no more than other secrets of ours have
PASSPHRASE = f"{PASSPHRASE_LEAST} to {PASSPHRASE_MOST} printable characters"
FILE_BYTES = 1_048_576  # in base64 it fits into one request of the REST API; one with the most keys has a quarter of it


class BackupError(ValueError):
    """What is no backup that can be made or read here; the message says what was found and what is allowed."""
