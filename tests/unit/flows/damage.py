"""A platform in memory with every kind of fault."""

from __future__ import annotations

from pipelines.reconcile.model import Kind, Side
from pipelines.reconcile.repair_plan import Place
from tests.unit.flows.repair_fakes import RIGHT, Platform, id_of, key


def damaged() -> Platform:
    """Eight records of which each has another fault, and a document of no record."""
    on = Platform.sound(24)
    places = sorted(on.rows, key=key)
    del on.rows[places[0]]
    on.find(Kind.MISSING, Side.TABLE, places[0])
    on.rows[places[2]] = ["altered"]
    on.find(Kind.DIFFERS, Side.TABLE, places[2])
    on.rows[places[4]] *= 3
    on.find(Kind.DOUBLED, Side.TABLE, places[4])
    del on.docs[RIGHT, id_of(places[6])]
    on.find(Kind.MISSING, Side.ELASTICSEARCH, places[6])
    on.docs[RIGHT, id_of(places[8])] = places[8], "altered"
    on.find(Kind.DIFFERS, Side.ELASTICSEARCH, places[8])
    on.docs[RIGHT, "double"] = places[10], "x"
    on.find(Kind.DOUBLED, Side.ELASTICSEARCH, places[10], es_index=RIGHT, es_id="double")
    on.docs["logs-2001.01.01", id_of(places[12])] = on.docs.pop((RIGHT, id_of(places[12])))
    on.find(Kind.MISPLACED, Side.ELASTICSEARCH, places[12], es_index="logs-2001.01.01", es_id=id_of(places[12]))
    on.docs[RIGHT, "extra"] = Place(0, 999), "x"
    on.find(Kind.EXTRA, Side.ELASTICSEARCH, Place(0, 999), es_index=RIGHT, es_id="extra", request_id=None)
    del on.rows[places[14]], on.docs[RIGHT, id_of(places[14])]
    on.find(Kind.MISSING, Side.TABLE, places[14])
    on.find(Kind.MISSING, Side.ELASTICSEARCH, places[14])
    return on
