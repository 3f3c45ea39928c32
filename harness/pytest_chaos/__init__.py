"""Brings a mesh of services and brokers up, breaks the links between them, and gives a verdict on how they behave.

The names that a ``conftest.py`` and a test need. They load on first use: importing this package, which every pytest
run on the machine does once the plugin is installed, loads nothing else.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pytest_chaos.brokers.kafka import Kafka as Kafka
    from pytest_chaos.brokers.rabbitmq import RabbitMQ as RabbitMQ
    from pytest_chaos.brokers.redis import Redis as Redis
    from pytest_chaos.checkers.breaker import CircuitBreaker as CircuitBreaker
    from pytest_chaos.checkers.bulkhead import Bulkhead as Bulkhead
    from pytest_chaos.checkers.correlation import Correlation as Correlation
    from pytest_chaos.checkers.delivery import Delivery as Delivery
    from pytest_chaos.checkers.fire_and_forget import FireAndForget as FireAndForget
    from pytest_chaos.checkers.honesty import Honesty as Honesty
    from pytest_chaos.checkers.idempotency import Idempotency as Idempotency
    from pytest_chaos.checkers.retry import Exponential as Exponential
    from pytest_chaos.checkers.retry import Retry as Retry
    from pytest_chaos.checkers.saga import Saga as Saga
    from pytest_chaos.checkers.saga import Step as Step
    from pytest_chaos.checkers.timeout import Deadline as Deadline
    from pytest_chaos.checkers.timeout import Timeout as Timeout
    from pytest_chaos.engine.chaos import Chaos as Chaos
    from pytest_chaos.errors import ChaosError as ChaosError
    from pytest_chaos.errors import Inconclusive as Inconclusive
    from pytest_chaos.errors import PublishError as PublishError
    from pytest_chaos.errors import Violation as Violation
    from pytest_chaos.faults.answers import *  # noqa: F403 - a family of faults, whole
    from pytest_chaos.faults.bodies import *  # noqa: F403 - a family of faults, whole
    from pytest_chaos.faults.broker import *  # noqa: F403 - a family of faults, whole
    from pytest_chaos.faults.bytes import *  # noqa: F403 - a family of faults, whole
    from pytest_chaos.faults.clock import *  # noqa: F403 - a family of faults, whole
    from pytest_chaos.faults.connection import *  # noqa: F403 - a family of faults, whole
    from pytest_chaos.faults.lifecycle import *  # noqa: F403 - a family of faults, whole
    from pytest_chaos.faults.messages import *  # noqa: F403 - a family of faults, whole
    from pytest_chaos.faults.partition import *  # noqa: F403 - a family of faults, whole
    from pytest_chaos.faults.redelivery import *  # noqa: F403 - a family of faults, whole
    from pytest_chaos.faults.starts import *  # noqa: F403 - a family of faults, whole
    from pytest_chaos.faults.timing import *  # noqa: F403 - a family of faults, whole
    from pytest_chaos.model.fault import Whom as Whom
    from pytest_chaos.model.plan import StubOperation as StubOperation
    from pytest_chaos.model.topology import Backing as Backing
    from pytest_chaos.model.topology import Http as Http
    from pytest_chaos.model.topology import LogLine as LogLine
    from pytest_chaos.model.topology import Service as Service
    from pytest_chaos.model.topology import Stub as Stub
    from pytest_chaos.model.topology import Tcp as Tcp
    from pytest_chaos.model.topology import Topology as Topology
else:
    # In the else branch, so that type checkers flag a misspelt name instead of believing __getattr__.
    _HOMES = {
        "brokers.kafka": ("Kafka",),
        "brokers.rabbitmq": ("RabbitMQ",),
        "brokers.redis": ("Redis",),
        "checkers.breaker": ("CircuitBreaker",),
        "checkers.bulkhead": ("Bulkhead",),
        "checkers.correlation": ("Correlation",),
        "checkers.delivery": ("Delivery",),
        "checkers.fire_and_forget": ("FireAndForget",),
        "checkers.honesty": ("Honesty",),
        "checkers.idempotency": ("Idempotency",),
        "checkers.retry": ("Exponential", "Retry"),
        "checkers.saga": ("Saga", "Step"),
        "checkers.timeout": ("Deadline", "Timeout"),
        "engine.chaos": ("Chaos",),
        "errors": ("ChaosError", "Inconclusive", "PublishError", "Violation"),
        "model.fault": ("Whom",),
        "model.plan": ("StubOperation",),
        "model.topology": ("Backing", "Http", "LogLine", "Service", "Stub", "Tcp", "Topology"),
    }
    _HOME_OF = {name: home for home, names in _HOMES.items() for name in names}

    def __getattr__(name: str) -> object:
        if name not in _HOME_OF:
            # The catalogue of faults is open: a fault's own file makes it known, here as well.
            from pytest_chaos.faults import catalogue  # noqa: PLC0415 - on first use

            if name[:1].isupper() and name in catalogue.names():
                return catalogue.get(name)
            msg = f"module {__name__!r} has no attribute {name!r}"
            raise AttributeError(msg)
        import importlib  # noqa: PLC0415 - on first use

        return getattr(importlib.import_module(f"{__name__}.{_HOME_OF[name]}"), name)

    def __dir__() -> list[str]:
        return sorted(_HOME_OF)


__version__ = "0.1.0"
