"""The backup of an appliance: one file that a passphrase opens, what is in it, and the folder of those that are kept."""
