"""What an administrator of the database asks for: migrations, grants, a diagnosis."""
