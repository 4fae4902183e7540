"""`python -m mutua` is `mutua`."""

from mutua.cli.main import main

main()
