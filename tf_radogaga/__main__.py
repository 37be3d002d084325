"""`python -m tf_radogaga COMMAND ...` runs a script of trainers/, as the command tf_radogaga does."""

from tf_radogaga_trainers.command import main

if __name__ == "__main__":
    main()
