"""Packaging. Pinned, hashed dependencies are in requirements/; here stand the names only."""

from pathlib import Path

from setuptools import find_packages, setup

setup(
    name="sdp",
    version="0.1.0",
    description="API6 log platform: Kafka to Delta tables and Elasticsearch, with proof that nothing is lost",
    python_requires=">=3.11",
    packages=find_packages(include=["pipelines", "pipelines.*", "stack", "stack.*"]),
    install_requires=[
        line.strip()
        for line in Path("requirements/runtime.in").read_text(encoding="utf-8").splitlines()
        if line.strip() and not line.startswith("#")
    ],
    entry_points={"console_scripts": ["sdp=pipelines.cli:main"]},
)
