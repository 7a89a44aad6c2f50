"""``python -m functions.cli``, for where the console script is not installed."""

from functions.cli.main import main

if __name__ == "__main__":
    main()
