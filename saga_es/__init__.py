"""saga_es: sagas over several services, every step an immutable event in your own database."""
