"""veteran_raw.csv as other programs write Parquet and Arrow: pyarrow 26.0.1, polars 2.1.0.

    python make_parquet.py        in this folder
"""

import polars as pl
import pyarrow as pa
import pyarrow.csv as csv
import pyarrow.feather as feather
import pyarrow.parquet as pq

options = csv.ConvertOptions(
    null_values=["NA"],
    strings_can_be_null=True,
    column_types={"karno": pa.float32(), "died": pa.bool_()},
)
table = csv.read_csv("veteran_raw.csv", convert_options=options)
coded = table.set_column(
    table.schema.get_field_index("celltype"), "celltype", table["celltype"].dictionary_encode()
)
pq.write_table(coded, "veteran_pyarrow.parquet", row_group_size=50)  # snappy
feather.write_feather(coded, "veteran_pyarrow.arrow")  # lz4
frame = pl.from_arrow(table)
frame.write_parquet("veteran_polars.parquet")  # zstd, strings as views
