"""What a producing service installs: the producer and the administration of topics; no Spark."""
