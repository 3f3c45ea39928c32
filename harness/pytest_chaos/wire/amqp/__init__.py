"""AMQP 0-9-1 as RabbitMQ speaks it, cut into frames and read as calls."""
