"""What keeps a directory from being asked."""


class DirectoryError(RuntimeError):
    """A server gave no answer on the person: it is away, is another than it should be, or does not take the appliance's own
    account. The message says which in a line for people, and holds no secret."""


class AccountRefusedError(DirectoryError):
    """It refuses the appliance's own account: asked with the same password again and again, a directory locks the account."""
