"""Reads a synced folder as three data teams would, and prints one JSON object per reader.

Usage: read_parquet.py duckdb|pyarrow|pandas FOLDER
FOLDER is what `aws s3 sync` made of s3://BUCKET/v1/account_id=A/, inside a folder account_id=A.
Prints {"decisions": {"rows": …, "account_ids": […], "experiments": […]}, "events": {…}}.
"""

import json
import sys


def duckdb_reader(folder):
    import duckdb


    def ask(of_type, folder_key):
        # account_id is both a folder and a column: say that it is text, or hive type inference may call it a number.
        # The same goes for names that look like numbers.
        hive = f"hive_partitioning = true, hive_types = {{'account_id': VARCHAR, '{folder_key}': VARCHAR}}"
        source = f"read_parquet('{folder}/account_id=*/type={of_type}/**/*.parquet', {hive})"
        rows = duckdb.sql(f"select count(*) from {source}").fetchall()[0][0]
        accounts = duckdb.sql(f"select distinct account_id, typeof(account_id) from {source}").fetchall()
        names = duckdb.sql(f"select distinct {folder_key} from {source} order by 1").fetchall()
        assert [kind for _, kind in accounts] == ["VARCHAR"], accounts
        return rows, [account for account, _ in accounts], [name for (name,) in names]

    return ask


def arrow_table(folder, of_type, folder_key):
    import pyarrow
    import pyarrow.dataset

    hive = pyarrow.dataset.partitioning(
        pyarrow.schema(
            [(name, pyarrow.string()) for name in ("account_id", "type", "date", folder_key)]
        ),
        flavor="hive",
    )
    dataset = pyarrow.dataset.dataset(folder, format="parquet", partitioning=hive, exclude_invalid_files=True)
    return dataset.to_table(filter=pyarrow.dataset.field("type") == of_type)


def pyarrow_reader(folder):
    def ask(of_type, folder_key):
        table = arrow_table(folder, of_type, folder_key)
        account_type = str(table.schema.field("account_id").type)
        assert account_type == "string", account_type
        names = sorted(set(table.column(folder_key).to_pylist()))
        return table.num_rows, sorted(set(table.column("account_id").to_pylist())), names

    return ask


def pandas_reader(folder):
    import pathlib

    import pandas

    def ask(of_type, folder_key):
        files = sorted(pathlib.Path(folder).glob(f"**/type={of_type}/**/*.parquet"))
        # One file at a time: the column account_id stands in every file, the folder is not looked at.
        frame = pandas.concat([pandas.read_parquet(file.open("rb")) for file in files])
        assert str(frame["process_timestamp"].dt.tz) == "UTC", frame.dtypes
        names = sorted({part.split("=", 1)[1] for file in files for part in file.parts if part.startswith(folder_key + "=")})
        return len(frame), sorted(frame["account_id"].unique()), names

    return ask


def main():
    reader, folder = sys.argv[1:]
    ask = {"duckdb": duckdb_reader, "pyarrow": pyarrow_reader, "pandas": pandas_reader}[reader](folder)
    found = {}
    for of_type, folder_key in (("decisions", "experiment"), ("events", "event")):
        rows, accounts, names = ask(of_type, folder_key)
        found[of_type] = {"rows": rows, "account_ids": accounts, "names": names}
    print(json.dumps(found))


main()
