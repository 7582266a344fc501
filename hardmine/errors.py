"""Errors that are the user's to mend, and training that cannot go on."""


class InputError(ValueError):
    """Bad input. The message is one line that names the file or argument and the remedy; the command line exits with 2.

    Args:
        message: with arguments in backticks where `block` is given.
        block: of the config, which has a key for each of these arguments.

    Attributes:
        keyed: the message with these keys in place of the arguments.
    """

    def __init__(self, message: str, block: str | None = None) -> None:
        super().__init__(message if block is None else message.replace("`", ""))
        marks = iter(message.split("`") if block else [message])
        self.keyed = next(marks) + "".join(f"{block}.{name}{next(marks, '')}" for name in marks)


class TrainingError(RuntimeError):
    """Training that cannot go on, and why, in one line. The command line exits with 1."""
