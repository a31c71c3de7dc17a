"""API6 log platform: Kafka to Delta tables and Elasticsearch, with proof that nothing is lost."""

__version__ = "0.1.0"
