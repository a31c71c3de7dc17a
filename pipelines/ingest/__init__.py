"""The hops of a record: decode → validate → find duplicates → route. DataFrame in, DataFrame out, no I/O."""
