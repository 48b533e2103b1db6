"""Sagas in a Django project: `"saga_es.django"` in INSTALLED_APPS, and `SAGA_ES = {"app": "shop.sagas"}`.

`start` in `transaction.atomic()` writes a saga in Django's transaction.
"""

from saga_es.django.serving import with_saga_pages
from saga_es.django.starting import close, engine, start

__all__ = ["close", "engine", "start", "with_saga_pages"]
