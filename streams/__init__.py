"""Hosts and IO of distilwatch: configuration, adapters, Kafka, Redis, console, command line."""
