"""Bad rows that come back: recipes, their steps, and views of single rows. No I/O."""
