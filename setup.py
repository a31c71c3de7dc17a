"""Packaging. Pinned, hashed dependencies are in requirements/; here stand the names only.

``pip install .`` brings what a producing service needs (``sdk``), ``'.[jobs]'`` what the Spark jobs need too.
"""

from pathlib import Path

from setuptools import find_packages, setup


def names(file: str) -> list[str]:
    lines = Path("requirements", file).read_text(encoding="utf-8").splitlines()
    return [line.strip() for line in lines if line.strip() and not line.startswith(("#", "-"))]


def data(*folders: str) -> list[tuple[str, list[str]]]:
    """Files that ``pipelines.settings.ROOT`` stands for where there is no checkout."""
    inside = (path for name in folders for path in [Path(name), *Path(name).rglob("*")] if path.is_dir())
    return [(f"share/sdp/{f}", [str(p) for p in sorted(f.iterdir()) if p.is_file()]) for f in inside]


setup(
    name="sdp",
    version="0.1.0",
    description="API6 log platform: Kafka to Delta tables and Elasticsearch, with proof that nothing is lost",
    python_requires=">=3.11",
    packages=find_packages(include=["pipelines", "pipelines.*", "sdk", "sdk.*", "stack", "stack.*"]),
    data_files=data("conf", "schemas"),
    install_requires=names("sdk.in"),
    extras_require={"jobs": names("runtime.in")},
    entry_points={"console_scripts": ["sdp=pipelines.command:main"]},
)
