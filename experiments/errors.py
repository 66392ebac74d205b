"""What goes wrong: mistakes of the user, and numbers that are not finite."""

__all__ = ["FaultError", "UserError"]


class UserError(Exception):
    """A mistake in what the user asked for; the message is for them, exit code 2."""


class FaultError(Exception):
    """Numbers that came out not finite; the message says which, exit code 1."""
