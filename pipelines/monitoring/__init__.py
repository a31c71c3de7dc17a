"""What a job tells about itself: structured logs, metric names."""
