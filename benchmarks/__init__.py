"""Side-by-side measurements of both jobs with their peers; ``python -m benchmarks`` writes docs/benchmarks.md."""
