"""What a shell can ask of the library, each command over functions of the other packages."""
