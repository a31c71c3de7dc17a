"""Data quality: what a day of rows must be like, and the frames that Great Expectations looks at."""
