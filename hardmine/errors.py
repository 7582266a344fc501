"""The one exception that is the user's to mend."""


class InputError(ValueError):
    """Bad input. The message is one line that names the file or key and the remedy; the command line exits with 2."""
