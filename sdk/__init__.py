"""What a producing service installs: log producer, typed events, capture, topic administration. No Spark."""
