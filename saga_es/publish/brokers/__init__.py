"""Brokers as targets: RabbitMQ, Kafka, NATS and Redis; each with one client, which is an extra of the package."""
