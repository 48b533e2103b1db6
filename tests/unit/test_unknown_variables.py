"""Variables that look like settings of ours and are none."""

from __future__ import annotations

import pytest

from saga_es.node.settings import Settings
from saga_es.node.unknown import OF_PARTICIPANTS, uncalled_addresses, unknown_variables


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("SAGA_ES_DATABSE_URL", "SAGA_ES_DATABASE_URL"),
        ("SAGA_ES_DB_URL", "SAGA_ES_DATABASE_URL"),
        ("SAGA_ES_CALLTHREADS", "SAGA_ES_CALL_THREADS"),
        ("SAGA_ES_HEALT_PORT", "SAGA_ES_HEALTH_PORT"),
        ("SAGA_ES_PAYLOAD_LIMIT_", "SAGA_ES_PAYLOAD_LIMIT"),
        ("saga_es_port", "SAGA_ES_PORT"),
        ("SAGA-ES-PORT", "SAGA_ES_PORT"),
        ("SAGAES_APP", "SAGA_ES_APP"),
        ("SAGA_ES_PARTICPANT_BANK", "SAGA_ES_PARTICIPANT_BANK"),
        ("SAGA_ES_BANK", "SAGA_ES_PARTICIPANT_BANK"),
    ],
)
def test_the_nearest_name_is_told(name: str, meant: str) -> None:
    """Also where only the case or the signs differ, and for the address of a participant."""
    (sentence,) = unknown_variables({name: "x"}, ["bank"])
    assert sentence == f"{name}: there is no such setting; did you mean {meant}?"


@pytest.mark.parametrize("name", ["SAGA_ES_", "SAGA_ES_QQQQ", "SAGA_ES_PARTICIPANT_", "SAGA_ES_PARTICIPANTS"])
def test_what_is_near_no_setting_is_told_all_the_same(name: str) -> None:
    """A variable that nobody reads changes nothing."""
    (sentence,) = unknown_variables({name: "x"})
    assert sentence.startswith(f"{name}: there is no such setting")


def test_settings_and_others_variables_are_not_told() -> None:
    """Each setting of ours, what other programs read, and what Kubernetes sets for a service named like us."""
    ours = {f"SAGA_ES_{name.upper()}": "1" for name in Settings.__struct_fields__ if name not in OF_PARTICIPANTS}
    others = {"PATH": "/bin", "SAGA_ESTIMATE": "1", "MY_SAGA_ES_PORT": "1"}
    of_kubernetes = {
        "SAGA_ES_SERVICE_HOST": "10.0.0.1",
        "SAGA_ES_SERVICE_PORT": "5000",
        "SAGA_ES_SERVICE_PORT_HTTP": "5000",
        "SAGA_ES_PORT_5000_TCP": "tcp://10.0.0.1:5000",
        "SAGA_ES_PORT_5000_TCP_ADDR": "10.0.0.1",
        "SAGA_ES_WORKER_PORT": "tcp://10.0.0.2:5000",
        "SAGA_ES_WORKER_SERVICE_HOST": "10.0.0.2",
    }
    assert unknown_variables({**ours, **others, **of_kubernetes, "SAGA_ES_PARTICIPANT_BANK": "http://bank"}) == []


def test_an_address_that_no_saga_calls_is_told() -> None:
    """By the name that the participant would need; an empty one counts as not set, as for every setting."""
    environ = {
        "SAGA_ES_PARTICIPANT_PAYMENT_SERVICE": "http://one",
        "SAGA_ES_PARTICIPANT_grand_hotel": "http://two",
        "SAGA_ES_PARTICIPANT_UNUSED": "",
    }
    (sentence,) = uncalled_addresses(environ, ["paymentService", "grand-hotel"])
    assert sentence == (
        "SAGA_ES_PARTICIPANT_PAYMENT_SERVICE: no saga here calls such a participant; "
        "did you mean SAGA_ES_PARTICIPANT_PAYMENTSERVICE?"
    )
