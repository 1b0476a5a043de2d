-- Revenue by experiment and variation, from a folder that `aws s3 sync` filled. DuckDB.
-- account_id is both a folder and a column, and may look like a number: say that it is text.
-- Names of folders (event, experiment) may look like numbers too.
select
    attributed.experiment_id,
    attributed.variation_id,
    count(distinct visitor_id) as visitors,
    count(*) as conversions,
    sum(revenue) / 100 as revenue
from (
    select visitor_id, revenue, unnest(experiments) as attributed
    from read_parquet(
        'export/account_id=*/type=events/**/*.parquet',
        hive_partitioning = true,
        hive_types = {'account_id': VARCHAR, 'event': VARCHAR}
    )
    where event_name = 'purchase'
)
group by all
order by all;
