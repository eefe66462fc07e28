"""`python -m gradloom.service.cli`, for where the script is not on the path."""

from gradloom.service.cli import main

main()
