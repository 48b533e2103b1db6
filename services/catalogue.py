"""The four services, in the order in which the saga calls them."""

from __future__ import annotations

from services import event, event_details, ticket, venue

SERVICES = (event.service, event_details.service, venue.service, ticket.service)
