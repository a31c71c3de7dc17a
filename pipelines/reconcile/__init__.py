"""Reconciliation: three sides compared record by record, the verdict, the report."""
