"""`python -m saga_es`."""

from saga_es.cli import main

if __name__ == "__main__":
    main(prog_name="saga-es")
