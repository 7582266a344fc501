"""`python -m hardmine`."""

from hardmine.cli import main

if __name__ == "__main__":
    main()
