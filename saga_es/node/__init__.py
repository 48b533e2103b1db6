"""One process of saga_es: its application, its settings, and what is wired from them."""
