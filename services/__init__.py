"""The demonstration: four services, the saga that calls them, and demo endpoints, in one Flask application."""

from saga_es import App
from saga_es.api import saga_blueprint
from saga_es.participant import RECORD_EVENTS
from services import create_event, demo
from services.catalogue import SERVICES

app = App(
    name="saga_es demo",
    version="0.1.0",
    sagas=[create_event.saga],
    views=[service.view for service in SERVICES],
    events={service.category: RECORD_EVENTS for service in SERVICES},
    blueprints={
        **{service.path: [service.blueprint] for service in SERVICES},
        "saga": [create_event.blueprint, saga_blueprint, demo.blueprint],
    },
    everywhere=[demo.root],
    scenarios=demo.SCENARIOS,
)
