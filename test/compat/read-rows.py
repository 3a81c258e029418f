"""Reads Parquet (pyarrow) or Avro (fastavro) and prints each row as JSON, every value as exact text."""

import base64
import datetime
import decimal
import json
import sys

decimal.getcontext().prec = 100


def text(value):
    if value is None:
        return None
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, decimal.Decimal):
        plain = format(value.normalize(), "f")
        return "0" if plain in ("-0", "0") else plain
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    if isinstance(value, datetime.datetime):
        epoch = datetime.datetime(1970, 1, 1, tzinfo=value.tzinfo)
        delta = value - epoch
        return f"micros:{(delta.days * 86400 + delta.seconds) * 1000000 + delta.microseconds}"
    if isinstance(value, (datetime.date, datetime.time)):
        return value.isoformat()
    if isinstance(value, list):
        return [text(one) for one in value]
    if isinstance(value, dict):
        return {name: text(one) for name, one in value.items()}
    if isinstance(value, float):
        return repr(value)
    return str(value)


def rows(kind, path):
    if kind == "parquet":
        import pyarrow.parquet

        yield from pyarrow.parquet.read_table(path).to_pylist()
    else:
        import fastavro

        with open(path, "rb") as file:
            yield from fastavro.reader(file)


for path in sys.argv[2:]:
    for row in rows(sys.argv[1], path):
        print(json.dumps(text(row)))
