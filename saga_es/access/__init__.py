"""Who may do what: principals, roles, and what each route of ours asks for."""

from saga_es.access.permissions import Permission, permits
from saga_es.access.principal import Principal, Role

__all__ = ["Permission", "Principal", "Role", "permits"]
