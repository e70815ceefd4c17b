"""``python -m mrspec_prep``."""

from mrspec_prep.cli.start import main

if __name__ == "__main__":
    main()
