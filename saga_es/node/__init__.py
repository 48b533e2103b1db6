"""One process of saga_es: its application, its settings, and the objects that it makes from them."""
